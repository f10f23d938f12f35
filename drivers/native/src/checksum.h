/* The Internet checksum (RFC 1071) over octets in memory order. */
#ifndef SELVAGE_CHECKSUM_H
#define SELVAGE_CHECKSUM_H

#include <stdint.h>

/* A sum of 16-bit words in the host's order, continued from `sum`; only the last run may have an odd length. */
uint64_t checksum_add(uint64_t sum, const uint8_t *bytes, int32_t length);

/* The sum folded to 16 bits, and its complement: what goes into the packet, by memcpy. */
uint16_t checksum_fold(uint64_t sum);
uint16_t checksum_finish(uint64_t sum);

/* The sum of TCP's and UDP's pseudo header for the IP header at `ip` (version 4 or 6). */
uint64_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, int32_t transport_bytes);

#endif
