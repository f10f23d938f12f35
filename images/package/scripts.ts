// The maintainer scripts of the Debian package (Debian Policy 6). The services are enabled by the operator, who knows the
// host's role; everything that the package or its services have made goes with `purge`.

const SERVICES = 'selvage.service selvage-director.service';

const POSTINST = `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  systemd-sysusers selvage.conf
  systemd-tmpfiles --create selvage.conf
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # An upgrade: what ran goes on with the new files, what did not run stays so.
    if [ -n "$2" ]; then systemctl try-restart ${SERVICES} || true; fi
  fi
fi
`;

/** Virtual routers hold the host's ports: those come back when their namespaces end. */
const PRERM = `#!/bin/sh
set -e
if [ "$1" = remove ]; then
  if [ -d /run/systemd/system ]; then
    systemctl stop ${SERVICES} selvage-rescue.service selvage-namespaces.path selvage-namespaces.service || true
  fi
  systemctl --quiet disable ${SERVICES} || true
  for path in /run/netns/*-Control-VR /run/netns/*-LAN-VR /run/netns/*-Transport-VR; do
    if [ -e "$path" ]; then ip netns delete "\${path##*/}" || true; fi
  done
fi
`;

const POSTRM = `#!/bin/sh
set -e
if [ "$1" = purge ]; then
  rm -rf /etc/selvage /var/lib/selvage /run/selvage /run/selvage-namespaces
  rm -f /var/log/versa/versa-*.log*
  if [ -d /var/log/versa ]; then rmdir --ignore-fail-on-non-empty /var/log/versa; fi
  # They hold a key and a token of this box.
  rm -f /etc/credstore/selvage.* /etc/credstore.encrypted/selvage.*
  if getent passwd selvage-director >/dev/null; then userdel selvage-director; fi
  if getent group selvage-director >/dev/null; then groupdel selvage-director; fi
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl reset-failed ${SERVICES} selvage-rescue.service 2>/dev/null || true
fi
`;

/** By file name in the package's control part. */
export const MAINTAINER_SCRIPTS: Readonly<Record<string, string>> = { postinst: POSTINST, prerm: PRERM, postrm: POSTRM };
