// A StreamSocket of the network port as a Node stream, so that node:tls can run over a connection that was opened
// inside a virtual router.
import { Duplex } from 'node:stream';
import type { Site } from '../../firmware/services/service.ts';

type Network = Site['network'];
type Stream = ReturnType<Network['connectStream']>;

export interface StreamTarget {
  /** Virtual router; undefined = the process's own namespace. */
  readonly vr: string | undefined;
  readonly localAddress: string | undefined;
  readonly remote: { readonly address: string; readonly port: number };
}

class StreamDuplex extends Duplex {
  stream: Stream | undefined;

  override _read(): void {
    // The port pushes; what arrives is bounded by the reader of the answer.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.stream?.write(new Uint8Array(chunk));
    done();
  }

  override _final(done: () => void): void {
    this.stream?.close();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.stream?.close();
    done(error);
  }
}

/** Opens a connection; resolves when it is established, rejects with the host's error. */
export function connectDuplex(network: Network, target: StreamTarget, opened: (duplex: Duplex) => void): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const duplex = new StreamDuplex();
    // Until someone listens, an error before the connection is reported by the rejection alone.
    duplex.on('error', reject);
    duplex.on('close', () => reject(new Error('the connection was given up')));
    opened(duplex);
    let connected = false;
    duplex.stream = network.connectStream({
      ...target,
      handlers: {
        onConnected() {
          connected = true;
          resolve(duplex);
        },
        onData: (bytes) => void duplex.push(bytes),
        onClosed(error) {
          if (error || !connected) duplex.destroy(error ?? new Error('the connection was refused'));
          else duplex.push(null);
        },
      },
    });
  });
}
