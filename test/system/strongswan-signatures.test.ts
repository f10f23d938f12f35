import { SIGNATURE_ROWS, signs } from './strongswan-signatures.ts';

describe('Signatures with strongSwan', function () {
  this.timeout(700_000);

  for (const row of SIGNATURE_ROWS.filter(({ usual }) => usual === true)) {
    it(`${row.release}: ${row.name}, ours is the ${row.role}`, () => signs(row));
  }
});
