// Certificates, revocation lists and OCSP responses of strangers: changed copies of a chain that is good under hard fail.
// Whatever passes must say what its issuer has signed.
import { deepStrictEqual } from 'node:assert/strict';
import { toHex } from '../../platform/bytes.ts';
import { decodeCertificate } from '../../platform/certificate.ts';
import { checkChain } from '../../platform/chain.ts';
import { decodeCrl } from '../../platform/crl.ts';
import type { ChainResult } from '../../platform/crypto.ts';
import { decodeOcspResponse } from '../../platform/ocsp.ts';
import type { SeededRandom } from '../../platform/random.ts';
import { readCorpus } from './corpus.ts';
import { mutate, oneIn, pick } from './mutation.ts';
import type { FuzzTarget, Trail } from './target.ts';
import { decodes } from './target.ts';

const INPUTS = 40;
/** While everything of the seeds is in force. */
const UNIX_MS = 1_795_600_000_000;

interface Seeds {
  readonly anchor: Uint8Array;
  readonly authority: Uint8Array;
  readonly device: Uint8Array;
  readonly list: Uint8Array;
  readonly response: Uint8Array;
}

type Part = Exclude<keyof Seeds, 'anchor'>;
const PARTS: readonly Part[] = ['authority', 'device', 'list', 'response'];

function readSeeds(): Seeds {
  const corpus = new Map(readCorpus('certificates').map(({ name, bytes }) => [name, bytes]));
  return {
    anchor: corpus.get('the-trust-anchor')!,
    authority: corpus.get('an-authority-with-name-constraints')!,
    device: corpus.get('a-device')!,
    list: corpus.get('a-revocation-list')!,
    response: corpus.get('a-response-of-a-delegated-responder')!,
  };
}

function check({ anchor, authority, device, list, response }: Seeds): ChainResult {
  return checkChain({ chain: [device, authority], anchors: [anchor], unixMs: UNIX_MS, revocation: { crls: [list], ocspResponses: [response], policy: 'hard' } });
}

function decodeAll(bytes: Uint8Array): void {
  for (const decode of [decodeCertificate, decodeCrl, decodeOcspResponse]) decodes(() => decode(bytes));
}

/** What the issuer's signature covers, as far as anybody goes by it. */
function saying(part: Part, bytes: Uint8Array): unknown {
  switch (part) {
    case 'list':
      return toHex(decodeCrl(bytes).signed);
    case 'response':
      return toHex(decodeOcspResponse(bytes).signed);
    case 'authority':
    case 'device':
      return decodeCertificate(bytes);
  }
}

function feed(seeds: Seeds, part: Part, bytes: Uint8Array): void {
  decodeAll(bytes);
  if (check({ ...seeds, [part]: bytes }).ok) deepStrictEqual(saying(part, bytes), saying(part, seeds[part]), `a changed ${part} passes`);
}

function run(dice: SeededRandom, corpus: readonly Uint8Array[], trail: Trail): void {
  const seeds = readSeeds();
  deepStrictEqual(check(seeds).ok, true, 'the seeds themselves do not pass');
  for (let i = 0; i < INPUTS; i++) {
    const part = pick(dice, PARTS);
    const seed = oneIn(dice, 8) ? pick(dice, corpus) : seeds[part];
    feed(seeds, part, trail.add(mutate(dice, seed, corpus)));
  }
}

export const CERTIFICATES: FuzzTarget = {
  name: 'certificates',
  about: 'certificates, revocation lists and OCSP responses, changed',
  promise: 'decoders throw WireError only, and no changed document makes a chain pass',
  run,
  replay(bytes) {
    const seeds = readSeeds();
    for (const part of PARTS) feed(seeds, part, bytes);
  },
};
