// What a RAUC bundle of the verity format says of itself, read without RAUC and without trust: the box judges the
// signature, Director only needs to know for whom the bundle is.
//
//   squashfs | verity tree | CMS SignedData (DER) with the manifest inside | length of the CMS, 8 octets
import type { FileHandle } from 'node:fs/promises';
import { Reader, fromUtf8 } from '../../platform/bytes.ts';
import { Tag, expectElement, oidText, readElement } from '../../platform/der.ts';
import { WireError } from '../../platform/errors.ts';

export interface PackageManifest {
  /** `selvage-x86_64`: product and architecture. */
  readonly compatible: string;
  readonly version: string;
}

const TRAILER_BYTES = 8;
const LARGEST_SIGNATURE_BYTES = 64 * 1024;
/** CMS: `[0] EXPLICIT`. */
const EXPLICIT_0 = 0xa0;
const SET = 0x31;
const SIGNED_DATA = '1.2.840.113549.1.7.2';
const NAME = /^[A-Za-z0-9._+-]{1,64}$/;
const VERSION = /^[A-Za-z0-9._+-]{1,40}$/;

/** RFC 5652 5.1: the content that the signature encloses. */
function enclosedContent(cms: Uint8Array): string {
  const content = expectElement(new Reader(cms, 'signature'), Tag.sequence, 'signature').content;
  const type = oidText(expectElement(content, Tag.oid, 'content type').content);
  if (type !== SIGNED_DATA) throw new WireError(`content type ${type} is not signed data`);
  const signed = expectElement(expectElement(content, EXPLICIT_0, 'content').content, Tag.sequence, 'signed data').content;
  expectElement(signed, Tag.integer, 'version');
  expectElement(signed, SET, 'digest algorithms');
  const enclosed = expectElement(signed, Tag.sequence, 'enclosed content').content;
  readElement(enclosed, 'enclosed content type');
  if (enclosed.remaining === 0) throw new WireError('the manifest is not inside the signature: the bundle has the plain format, boxes take the verity format only');
  return fromUtf8(expectElement(expectElement(enclosed, EXPLICIT_0, 'manifest').content, Tag.octetString, 'manifest').content.rest());
}

/** Values of the section `[update]` of a key file. */
function updateSection(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  let section = '';
  for (const line of text.split('\n')) {
    section = /^\[(.*)\]\s*$/.exec(line)?.[1] ?? section;
    const pair = section === 'update' ? /^([a-z-]+)=(.*)$/.exec(line) : null;
    if (pair) values.set(pair[1]!, pair[2]!.trim());
  }
  return values;
}

/** Throws WireError with what is wrong when the file is no such bundle. */
export async function readManifest(file: FileHandle, bytes: number): Promise<PackageManifest> {
  const at = async (length: number, position: number): Promise<Uint8Array> => {
    const part = new Uint8Array(length);
    const { bytesRead } = await file.read(part, 0, length, position);
    if (bytesRead !== length) throw new WireError(`${length} octets were expected at ${position}, ${bytesRead} came`);
    return part;
  };
  if (bytes <= TRAILER_BYTES) throw new WireError(`${bytes} octets are no bundle`);
  const length = new Reader(await at(TRAILER_BYTES, bytes - TRAILER_BYTES), 'bundle').u64();
  if (length === 0n || length > BigInt(Math.min(LARGEST_SIGNATURE_BYTES, bytes - TRAILER_BYTES))) throw new WireError(`its end claims a signature of ${length} octets`);
  const update = updateSection(enclosedContent(await at(Number(length), bytes - TRAILER_BYTES - Number(length))));
  const [compatible = '', version = ''] = [update.get('compatible'), update.get('version')];
  if (!NAME.test(compatible) || !VERSION.test(version)) throw new WireError('its manifest names no usable compatible and version');
  return { compatible, version };
}
