/* Both directions of a TUN device, between super-packets and bursts of packets. */
#ifndef SELVAGE_TUN_BURSTS_H
#define SELVAGE_TUN_BURSTS_H

#include "staging.h"

#define IPV6_HEADER_BYTES 40
#define IPV4_HEADER_BYTES 20
#define TCP_HEADER_BYTES 20
#define PROTOCOL_TCP 6

/* Where fields of TCP lie (RFC 9293 3.1). */
#define TCP_SEQUENCE 4
#define TCP_ACKNOWLEDGEMENT 8
#define TCP_DATA_OFFSET 12
#define TCP_FLAGS 13
#define TCP_WINDOW 14
#define TCP_CHECKSUM 16
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

static inline uint32_t read32(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint32_t read16(const uint8_t *at) {
  return (uint32_t)at[0] << 8 | at[1];
}

static inline void write16(uint8_t *at, uint32_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static inline void write32(uint8_t *at, uint32_t value) {
  write16(at, value >> 16);
  write16(at + 2, value);
}

/* Fills slots from `count` on with what the device has; returns the burst's new count. */
int32_t tun_read(struct staging *staging, struct burst *burst, int32_t count);

/* Writes the selected packets, in-sequence runs of one TCP connection as one super-packet; returns how many went. */
int32_t tun_write(int32_t fd, bool vnet_header, struct burst *burst, int32_t count, int32_t select);

#endif
