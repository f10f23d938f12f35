/* Super-packets of the inside cut into the packets that travel. */
#ifndef SELVAGE_SEGMENTS_H
#define SELVAGE_SEGMENTS_H

#include "burst.h"

#include <stdbool.h>

/* What a suite puts around the text: it is padded to a multiple of `block_bytes`. */
struct esp_shape {
  int32_t iv_bytes, icv_bytes, block_bytes;
};

/* A row that is to be cut, with everything checked that reading it needs. */
struct super {
  /* Outer headers up to the inner IP header, which every part gets a copy of. */
  const uint8_t *outer;
  int32_t outer_bytes;
  /* From `outer` to ESP. */
  int32_t esp_at;
  /* From the inner IP header to that of TCP or UDP, and to the payload. */
  int32_t transport;
  int32_t headers;
  int32_t payload_bytes;
  int32_t segment;
  int32_t parts;
  uint8_t trailer;
  uint64_t first_sequence;
  struct esp_shape shape;
};

/* False when the row's columns do not describe a super-packet that lies in the arena. */
bool super_of(const struct burst *burst, int32_t i, const struct esp_shape *shape, struct super *super);

/* Octets that all parts together take. */
int64_t super_output(const struct super *super);

/* Writes part `part`, complete but for the seal, and returns its octets; *esp_bytes of them from ESP to the ICV. */
int32_t write_part(const struct super *super, int32_t part, uint8_t *to, int32_t *esp_bytes);

#endif
