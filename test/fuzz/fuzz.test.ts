// A short fixed run of every fuzz target; `npm run fuzz` goes on from there for as long as one likes.
import { equal, ok, throws } from 'node:assert/strict';
import { SeededRandom } from '../../platform/random.ts';
import { readCorpus } from './corpus.ts';
import { mutate } from './mutation.ts';
import { runCase } from './target.ts';
import { FUZZ_TARGETS } from './targets.ts';

const SEED = 'npm test';
const CASES: Readonly<Record<string, number>> = { 'ike-wire': 15, ike: 25, 'ike-eap': 20, bgp: 15, sdwan: 15, dataplane: 30, certificates: 6 };

for (const target of FUZZ_TARGETS) describe(`fuzz ${target.name}: ${target.promise}`, () => {
  const corpus = readCorpus(target.name);

  for (const { name, bytes } of corpus) it(`after ${name.replaceAll('-', ' ')}`, () => target.replay(bytes));

  it('after mutated inputs of a fixed seed', () => {
    const inputs = corpus.map(({ bytes }) => bytes);
    for (let number = 0; number < CASES[target.name]!; number++) runCase(target, SEED, number, inputs);
  });
});

describe('fuzz', () => {
  it('tells seed, case and inputs of a finding', () => {
    const [target] = FUZZ_TARGETS;
    const broken = { ...target!, run: (_dice: unknown, _corpus: unknown, trail: { add(bytes: Uint8Array): void }) => (trail.add(Uint8Array.of(0xab, 0xcd)), ok(false, 'promise broken')) };
    throws(() => runCase(broken, 'x', 7, []), /seed x, case 7: [^]*promise broken[^]*\nabcd$/);
  });

  it('makes the same mutants of the same seed', () => {
    const mutants = (): string => Array.from({ length: 50 }, (_, i) => mutate(new SeededRandom(i), new Uint8Array(40)).join()).join(' ');
    const [first, second] = [mutants(), mutants()];
    equal(first, second);
  });
});
