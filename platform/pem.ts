// PEM (RFC 7468): base64 of DER between labelled lines.
import { WireError } from './errors.ts';

export type PemLabel = 'CERTIFICATE' | 'PRIVATE KEY' | 'PUBLIC KEY' | 'CERTIFICATE REQUEST' | 'X509 CRL';

export function encodePem(label: PemLabel, der: Uint8Array): string {
  const lines = Buffer.from(der.buffer, der.byteOffset, der.length).toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Every block with this label, in order; throws WireError when there is none or one is damaged. */
export function decodePem(label: PemLabel, text: string): readonly Uint8Array<ArrayBuffer>[] {
  const blocks = [...text.matchAll(new RegExp(`-----BEGIN ${label}-----([^-]*)-----END ${label}-----`, 'g'))];
  if (blocks.length === 0) throw new WireError(`there is no ${label} in the PEM text`);
  return blocks.map((block) => {
    const base64 = block[1]!.replaceAll(/\s/g, '');
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) throw new WireError(`the ${label} is not base64`);
    return new Uint8Array(Buffer.from(base64, 'base64'));
  });
}
