import { NativeDevices } from '../../drivers/native/sockets.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { PortableUdp } from '../../drivers/portable/udp.ts';
import { datagramPortContract } from './port-contract.ts';
import { withNamespace } from './namespaces.ts';

describe('UDP ports', () => {
  const vr = withNamespace('udp');
  datagramPortContract({
    name: 'native',
    addresses: ['127.0.0.1', '::1'],
    buffered: 256,
    open: (local) => new NativeDevices(requireNative()).openUdp(vr, local),
  });
  datagramPortContract({
    name: 'portable',
    addresses: ['127.0.0.1', '::1'],
    // What an unprivileged process may have as receive buffer (net.core.rmem_default).
    buffered: 64,
    open: (local) => new PortableUdp(local),
  });
});
