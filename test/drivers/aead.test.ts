import { NativeAead } from '../../drivers/native/aead.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { aeadContract, sameCiphertext } from './aead-contract.ts';
import { superPacketContract } from './super-packet-contract.ts';

const native = (): NativeAead => new NativeAead(requireNative(), 'openssl');
const fastest = (): NativeAead => new NativeAead(requireNative());
const portable = (): PortableAead => new PortableAead();

aeadContract('portable', portable);
aeadContract('native', native);
aeadContract('native to portable', native, portable);
sameCiphertext('native', native, portable);
aeadContract(`native (${fastest().name})`, fastest);
sameCiphertext(`native (${fastest().name})`, fastest, portable);
superPacketContract(`native (${fastest().name})`, fastest);
superPacketContract('portable', portable);
superPacketContract('native', native);
