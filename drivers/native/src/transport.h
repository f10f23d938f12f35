/* Where fields of IP, TCP and UDP lie (RFC 791, RFC 8200, RFC 9293 3.1, RFC 768), in octets. */
#ifndef SELVAGE_TRANSPORT_H
#define SELVAGE_TRANSPORT_H

#include <stdint.h>

#define IPV4_HEADER_BYTES 20
#define IPV6_HEADER_BYTES 40
#define TCP_HEADER_BYTES 20
#define UDP_HEADER_BYTES 8
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17

#define IPV4_TOTAL_LENGTH 2
#define IPV4_IDENTIFICATION 4
#define IPV4_FRAGMENT 6
#define IPV4_PROTOCOL 9
#define IPV4_CHECKSUM 10
#define IPV4_ADDRESSES 12
#define IPV6_PAYLOAD_LENGTH 4
#define IPV6_NEXT_HEADER 6

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

#define UDP_LENGTH 4
#define UDP_CHECKSUM 6

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

#endif
