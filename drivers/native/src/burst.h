/* The packet vector as drivers/burst.ts lays it out. The addon exports these numbers (layout()), and
 * drivers/native/addon.ts refuses to load an addon whose numbers differ. */
#ifndef SELVAGE_BURST_H
#define SELVAGE_BURST_H

#include <stdint.h>

#define BURST_PACKETS 256
#define SLOT_BYTES 2048
#define HEADROOM 192
#define TAILROOM 64
#define LARGEST_READ (SLOT_BYTES - HEADROOM - TAILROOM)

#define NEXT_DROP 0
#define NEXT_DONE 1

/* The columns of 4 octets per packet, in their order in memory. */
#define BURST_COLUMNS(column) \
  column(offset) column(length) column(next) column(reason) column(sa) column(tunnel) column(esp) \
  column(espLength) column(seqHi) column(port) column(family) column(segment) column(inside) column(mark)

#define BURST_COLUMN_MEMBER(name) int32_t name[BURST_PACKETS];

struct burst {
  BURST_COLUMNS(BURST_COLUMN_MEMBER)
  uint8_t address[BURST_PACKETS][16];
  uint8_t bytes[BURST_PACKETS * SLOT_BYTES];
};

#define ARENA_BYTES ((int64_t)BURST_PACKETS * SLOT_BYTES)

static inline int32_t slot_start(int32_t i) {
  return i * SLOT_BYTES + HEADROOM;
}

/* Whether a run of octets that JavaScript named lies inside the arena. */
static inline int in_arena(int64_t start, int64_t length) {
  return start >= 0 && length >= 0 && start + length <= ARENA_BYTES;
}

#endif
