import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '../../platform/bytes.ts';
import { OperationalError, UsageError } from '../../platform/errors.ts';
import { FileStore } from '../../platform/store-file.ts';
import type { Store } from '../../platform/store.ts';
import { MemoryStore } from '../../platform/store.ts';
import { withScratch } from './scratch.ts';

function storeContract(name: string, use: (run: (store: Store) => void) => void): void {
  it(`${name}: gives back what was written, and undefined for what never was`, () =>
    use((store) => {
      strictEqual(store.read('keys'), undefined);
      store.write('keys', utf8('first'));
      store.write('keys', utf8('second'));
      deepStrictEqual(store.read('keys'), utf8('second'));
      store.write('empty', new Uint8Array(0));
      deepStrictEqual(store.read('empty'), new Uint8Array(0));
      deepStrictEqual([...store.list()].sort(), ['empty', 'keys']);
    }));

  it(`${name}: forgets what was removed, also twice`, () =>
    use((store) => {
      store.write('keys', utf8('x'));
      store.remove('keys');
      store.remove('keys');
      strictEqual(store.read('keys'), undefined);
      deepStrictEqual(store.list(), []);
    }));

  it(`${name}: keeps no reference to the caller's octets`, () =>
    use((store) => {
      const bytes = utf8('abc');
      store.write('doc', bytes);
      bytes.fill(0);
      store.read('doc')!.fill(1);
      deepStrictEqual(store.read('doc'), utf8('abc'));
    }));
}

describe('platform/store', () => {
  storeContract('MemoryStore', (run) => run(new MemoryStore()));
  storeContract('FileStore', (run) => withScratch((directory) => run(new FileStore(join(directory, 'state')))));

  it('FileStore survives being opened again, and drops what an interrupted write left', () =>
    withScratch((directory) => {
      new FileStore(directory).write('boot', utf8('7'));
      writeFileSync(join(directory, '.aside-boot'), 'half');
      const again = new FileStore(directory);
      deepStrictEqual(again.read('boot'), utf8('7'));
      deepStrictEqual(readdirSync(directory), ['boot']);
    }));

  it('FileStore keeps documents for its owner alone', () =>
    withScratch((directory) => {
      new FileStore(join(directory, 'state')).write('keys', utf8('secret'));
      strictEqual(statSync(join(directory, 'state', 'keys')).mode & 0o777, 0o600);
      strictEqual(statSync(join(directory, 'state')).mode & 0o777, 0o700);
    }));

  it('FileStore refuses names that leave its directory', () =>
    withScratch((directory) => {
      const store = new FileStore(directory);
      for (const name of ['', '.', '..', '../x', 'a/b', '.hidden', 'a\0b', 'x'.repeat(101)]) {
        throws(() => store.write(name, utf8('x')), UsageError);
        throws(() => store.read(name), UsageError);
      }
    }));

  it('FileStore says what the operator can do when the directory is none', () =>
    withScratch((directory) => {
      writeFileSync(join(directory, 'file'), '');
      throws(
        () => new FileStore(join(directory, 'file')),
        (error) => {
          ok(error instanceof OperationalError);
          strictEqual(error.code, 'store-EEXIST');
          ok(error.nextStep.length > 0);
          return true;
        },
      );
    }));
});
