/* Both directions of a TUN device, between super-packets and bursts of packets. */
#ifndef SELVAGE_TUN_BURSTS_H
#define SELVAGE_TUN_BURSTS_H

#include "burst.h"
#include "transport.h"

#include <linux/virtio_net.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* Adds what the device has to the burst, super-packets as one row each; returns the burst's new count. */
int32_t tun_read(int32_t fd, struct burst *burst, int32_t count);

/* Writes the selected packets, runs of one flow as one super-packet; returns how many went. */
int32_t tun_write(int32_t fd, struct burst *burst, int32_t count, int32_t select);

#endif
