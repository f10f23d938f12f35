#!/bin/sh
# Boots systemd as first process of new namespaces, over the files of a Debian system (copy on write). Arguments: the
# root of that system, and a directory with `prepare` (run in the new root before the boot; its argument is the
# directory), `probe` (what to run on the booted machine; its output goes to `out`, and the directory is /probe there) and
# `etc` (files for /etc). Ends when the probe has ended.
set -eu
lower=$1 scratch=$2
root=$scratch/root

if [ "${3:-}" != inside ]; then
  # A control group of its own, so that nothing of it stays behind and nobody else's processes are moved.
  groups=$scratch/groups
  mkdir "$groups"
  mount -t cgroup2 cgroup2 "$groups"
  group=$groups/selvage-test-$$
  mkdir "$group"
  sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' enter "$group" \
    setpriv --pdeathsig KILL unshare --pid --mount --net --uts --ipc --cgroup --fork --kill-child=SIGKILL -- sh "$0" "$lower" "$scratch" inside || true
  find "$group" -depth -type d -exec rmdir {} +
  exit 0
fi

mkdir "$scratch/layers" "$root"
mount -t tmpfs tmpfs "$scratch/layers"
mkdir "$scratch/layers/upper" "$scratch/layers/work"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$scratch/layers/upper,workdir=$scratch/layers/work" "$root"
cd "$root"
rm -rf etc/systemd/system/*.wants

# Nothing here may reach the machine's own kernel parameters and devices, apart from those of the network namespace.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm
for device in null zero full random urandom tty net/tun; do cp -a "/dev/$device" "dev/$device"; done
ln -s pts/ptmx dev/ptmx

sh -eu "$scratch/prepare" "$scratch"
chown -R 0:0 "$scratch/etc"
cp -a "$scratch/etc/." etc/

mkdir probe
mount --bind "$scratch" probe
cat >etc/systemd/system/probe.target <<'UNIT'
[Unit]
Requires=sysinit.target
Wants=probe.service
AllowIsolate=yes
UNIT
cat >etc/systemd/system/probe.service <<'UNIT'
[Unit]
After=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh /probe/probe
ExecStopPost=/bin/systemctl exit 0 --force
StandardOutput=file:/probe/out
StandardError=file:/probe/errors
UNIT
mount --make-rshared "$root"
exec env -i container=selvage-test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /lib/systemd/systemd --unit=probe.target --log-target=journal --show-status=no
