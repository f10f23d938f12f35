import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { StagingPool } from '../../firmware/services/staging-pool.ts';

describe('services/staging-pool', () => {
  it('gives an identity one address, and keeps it until it is released', () => {
    const pool = new StagingPool('172.30.0.0/24');
    strictEqual(pool.assign('a'), '172.30.0.1');
    strictEqual(pool.assign('b'), '172.30.0.2');
    strictEqual(pool.assign('a'), '172.30.0.1');
  });

  it('gives out neither the first nor the last address, and says when it is exhausted', () => {
    const pool = new StagingPool('172.30.0.248/29');
    const given = ['a', 'b', 'c', 'd', 'e', 'f'].map((identity) => pool.assign(identity));
    deepStrictEqual(given, [249, 250, 251, 252, 253, 254].map((n) => `172.30.0.${n}`));
    strictEqual(pool.assign('g'), undefined);
    pool.release('c');
    strictEqual(pool.assign('g'), '172.30.0.251');
  });

  it('carries into the next octet', () => {
    const pool = new StagingPool('10.0.0.0/16');
    for (let i = 0; i < 255; i++) pool.assign(`x${i}`);
    strictEqual(pool.assign('y'), '10.0.1.0');
  });
});
