/* Room for super-packets: the kernel hands them over whole, and they are split into slots as far as a burst has room. */
#ifndef SELVAGE_STAGING_H
#define SELVAGE_STAGING_H

#include "addon.h"

#include <netinet/in.h>

/* Messages taken from the kernel at once, and the largest that it makes (with room for a header in front). */
#define STAGED_MESSAGES 8
#define STAGED_BYTES (65536 + 256)

union remote {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

struct staged {
  union remote remote;
  int32_t length;
  /* Length of each part but the last; the whole when it is no super-packet. */
  int32_t segment;
  int32_t traffic_class;
  /* TCP super-packets: octets of header in front of each part, and where TCP starts; 0 for datagrams. */
  int32_t header;
  int32_t transport;
};

struct staging {
  struct staging *next;
  int32_t fd;
  /* For TUN: whether each packet is preceded by a virtio_net_hdr, once the kernel was asked. */
  bool vnet_header, examined;
  int32_t messages;
  /* The message that is being split, and the first octet of it (behind its header) that no slot has yet. */
  int32_t current;
  int32_t position;
  struct staged staged[STAGED_MESSAGES];
  uint8_t bytes[STAGED_MESSAGES][STAGED_BYTES];
};

/* The staging of a port, made on first use; NULL without memory. */
struct staging *staging_of(struct addon_state *state, int32_t fd);

#endif
