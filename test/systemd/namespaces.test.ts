// Virtual routers for an appliance with a mount table of its own: systemd/make-namespaces outside, a request inside.
// Each test has a machine's view of its own, with an empty /run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAKE = fileURLToPath(new URL('../../systemd/make-namespaces', import.meta.url));
const REQUEST = fileURLToPath(new URL('namespace-request.ts', import.meta.url));

/** `$make`, `$node` and `$request` are at hand; `in_unit` runs a command with a mount table as systemd gives to a unit. */
function onMachine(script: string): { readonly stdout: string; readonly stderr: string; readonly status: number | null } {
  const prologue = `
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 0700 /run/selvage-namespaces
make=$1 node=$2 request=$3
in_unit() { unshare --mount --propagation slave -- "$@"; }
`;
  const args = ['--mount', '--net', '--', 'sh', '-c', prologue + script, 'machine', MAKE, process.execPath, REQUEST];
  return spawnSync('unshare', args, { encoding: 'utf8', timeout: 30_000 });
}

describe('virtual routers of an appliance in its own mount table', () => {
  it('are made outside on request, and are there inside and for `ip netns exec`', () => {
    const { stdout, stderr, status } = onMachine(`
      "$make"
      in_unit "$node" --disable-warning=ExperimentalWarning "$request" vr-a Tenant1-Control-VR vr-a &
      # The path unit: as long as there are requests, the service is started.
      while kill -0 $! 2>/dev/null; do
        if [ -n "$(ls /run/selvage-namespaces)" ]; then "$make"; fi
        sleep 0.02
      done
      wait $!
      ls /run/selvage-namespaces
      ip netns exec Tenant1-Control-VR ip -o link show lo | grep -o 'lo:'
    `);
    assert.deepEqual({ stdout, stderr, status }, { stdout: 'vr-a\nTenant1-Control-VR\nvr-a\nlo:\n', stderr: '', status: 0 });
  });

  it('are removed outside on request, and are gone inside and outside', () => {
    const { stdout, stderr, status } = onMachine(`
      "$make"
      in_unit sh -c '"$0" --disable-warning=ExperimentalWarning "$@" && ls /run/netns' "$node" "$request" vr-a vr-b -vr-a -vr-a &
      while kill -0 $! 2>/dev/null; do
        if [ -n "$(ls /run/selvage-namespaces)" ]; then "$make"; fi
        sleep 0.02
      done
      wait $!
      ls /run/selvage-namespaces /run/netns
    `);
    assert.deepEqual({ stdout, stderr, status }, { stdout: 'vr-a\nvr-b\n-vr-a\n-vr-a\nvr-b\n/run/netns:\nvr-b\n\n/run/selvage-namespaces:\n', stderr: '', status: 0 });
  });

  it('would not be found outside if the appliance made them itself', () => {
    const { stdout, status } = onMachine(`
      "$make"
      in_unit ip netns add vr-a
      ip netns exec vr-a true 2>/dev/null || echo 'not found'
    `);
    assert.deepEqual({ stdout, status }, { stdout: 'not found\n', status: 0 });
  });

  it('are made where an interrupted run left a plain file, and left alone where they are', () => {
    const { stdout, stderr, status } = onMachine(`
      "$make"
      touch /run/netns/vr-a /run/selvage-namespaces/vr-a
      "$make"
      before=$(stat -L -c %i /run/netns/vr-a)
      touch /run/selvage-namespaces/vr-a
      "$make"
      [ "$before" = "$(stat -L -c %i /run/netns/vr-a)" ] && ip netns exec vr-a echo same
    `);
    assert.deepEqual({ stdout, stderr, status }, { stdout: 'same\n', stderr: '', status: 0 });
  });

  it('are refused when their name is none, and the request is gone', () => {
    const { stdout, stderr, status } = onMachine(`
      "$make"
      touch '/run/selvage-namespaces/-all' '/run/selvage-namespaces/a b' /run/selvage-namespaces/good
      "$make" || echo failed
      ls /run/netns /run/selvage-namespaces
    `);
    assert.equal(stdout, 'failed\n/run/netns:\ngood\n\n/run/selvage-namespaces:\n');
    assert.match(stderr, /^(?:virtual router name refused: .*\n){2}$/);
    assert.equal(status, 0);
  });
});
