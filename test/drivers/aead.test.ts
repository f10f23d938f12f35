import { loadNative, requireNative } from '../../drivers/native/addon.ts';
import { NativeAead } from '../../drivers/native/aead.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { aeadContract } from './aead-contract.ts';

aeadContract('portable', () => new PortableAead());
aeadContract('native', () => new NativeAead(requireNative()));
if (loadNative() !== undefined) {
  aeadContract('native to portable', () => new NativeAead(requireNative()), () => new PortableAead());
}
