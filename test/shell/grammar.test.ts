import { deepStrictEqual, match, strictEqual } from 'node:assert/strict';
import type { CertificatesView } from '../../firmware/views.ts';
import { COMMANDS } from '../../firmware/shell/commands.ts';
import { matchWords, unknownCommand } from '../../firmware/shell/grammar.ts';
import { textTable } from '../../firmware/shell/text-table.ts';

const SAS = 'show orgs org-services <tenant> ipsec vpn-profile <profile> ike security-associations [brief] [detail]';

describe('shell/grammar', () => {
  it('takes parameters from their places', () => {
    const words = 'show orgs org-services Acme ipsec vpn-profile c1 ike security-associations'.split(' ');
    deepStrictEqual(matchWords(SAS, words)?.parameters, { tenant: 'Acme', profile: 'c1' });
    deepStrictEqual(matchWords(SAS, [...words, 'brief'])?.parameters, { tenant: 'Acme', profile: 'c1', brief: 'true' });
  });

  it('refuses words that are missing, other or too many', () => {
    strictEqual(matchWords('show dhkey site <tenant> <site>', ['show', 'dhkey', 'site', '2']), undefined);
    strictEqual(matchWords('show dhkey site <tenant> <site>', ['show', 'dhkeys', 'site', '2', '101']), undefined);
    strictEqual(matchWords('show dhkey site <tenant> <site>', ['show', 'dhkey', 'site', '2', '101', 'x']), undefined);
  });

  it('names what is possible after a wrong word', () => {
    const error = unknownCommand(COMMANDS.map((c) => c.pattern), ['show', 'dhkey', 'sites']);
    match(error.message, /unknown command: show dhkey sites/);
    match(error.message, /show dhkey site <tenant> <site>/);
  });

  it('has no two commands that fit the same words', () => {
    const samples = COMMANDS.map((c) => c.pattern.split(' ').filter((w) => !w.startsWith('[')).map((w) => (w.startsWith('<') ? 'x' : w)));
    for (const words of samples) strictEqual(COMMANDS.filter((c) => matchWords(c.pattern, words) !== undefined).length, 1, words.join(' '));
  });
});

describe('shell/commands', () => {
  it('shows certificates, lists and what is wrong with the clock', () => {
    const view: CertificatesView = {
      certificates: [{ kind: 'device', serialNumber: '4a01', subject: 'b1', issuer: 'Acme', notBefore: '2026-01-01', notAfter: '2027-01-01', daysLeft: 38, revocation: 'good' }],
      revocationPolicy: 'hard',
      revocationLists: [{ issuer: 'Acme', number: '7', thisUpdate: '2026-11-24', nextUpdate: '2026-12-24', current: false, revoked: 2 }],
      clock: 'the clock is behind',
    };
    const { render } = COMMANDS.find(({ pattern }) => pattern === 'show certificates')!;
    const text = render(view as never, {});
    match(text, /^device +4a01 +b1 +Acme +2026-01-01 +2027-01-01 +38 +good$/m);
    match(text, /^revocation: hard fail$/m);
    match(text, /^Acme +7 +2026-11-24 +2026-12-24 +no +2\n\nthe clock is behind$/m);
    match(render({ ...view, certificates: [], revocationLists: [], clock: '' } as never, {}), /^the box has no certificate yet\n\nrevocation: hard fail\nno revocation list is known yet$/);
  });
});

describe('shell/text-table', () => {
  it('aligns columns and ends no line with blanks', () => {
    const columns = [
      { title: 'Name', cell: (r: { name: string; n: number }) => r.name },
      { title: 'N', cell: (r: { name: string; n: number }) => r.n },
    ];
    strictEqual(textTable(columns, [{ name: 'a', n: 1 }, { name: 'longer', n: 22 }], 'none'), 'Name    N\n------  --\na       1\nlonger  22');
    strictEqual(textTable(columns, [], 'nothing here'), 'nothing here');
  });
});
