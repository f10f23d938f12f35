/* The packet vector as drivers/burst.ts lays it out. The addon exports these numbers (layout()), and
 * drivers/native/addon.ts refuses to load an addon whose numbers differ. */
#ifndef SELVAGE_BURST_H
#define SELVAGE_BURST_H

#include <stdint.h>

#define BURST_PACKETS 1024
#define SLOT_BYTES 2048
#define HEADROOM 192
#define TAILROOM 64
#define LARGEST_READ (SLOT_BYTES - HEADROOM - TAILROOM)
/* Behind the slots: areas that hold a super-packet each, then the room in which sealing cuts them up. */
#define AREAS 128
#define AREA_BYTES (65536 + 512)
#define OUTPUT_BYTES (3 << 20)
/* The most of it that one super-packet may take: payloads of 64 octets and more. */
#define LARGEST_OUTPUT (512 << 10)

#define NEXT_DROP 0
#define NEXT_DONE 1

/* The columns of 4 octets per packet, in their order in memory. */
#define BURST_COLUMNS(column) \
  column(offset) column(length) column(next) column(reason) column(sa) column(tunnel) column(esp) \
  column(espLength) column(seqHi) column(port) column(family) column(segment) column(inside) column(mark) \
  column(inner) column(headers) column(transport) column(trailer)

#define BURST_COLUMN_MEMBER(name) int32_t name[BURST_PACKETS];

struct burst {
  BURST_COLUMNS(BURST_COLUMN_MEMBER)
  uint8_t address[BURST_PACKETS][16];
  uint8_t bytes[BURST_PACKETS * SLOT_BYTES + AREAS * AREA_BYTES + OUTPUT_BYTES];
};

#define AREAS_START (BURST_PACKETS * SLOT_BYTES)
#define OUTPUT_START (AREAS_START + AREAS * AREA_BYTES)
#define ARENA_BYTES ((int64_t)OUTPUT_START + OUTPUT_BYTES)

static inline int32_t slot_start(int32_t i) {
  return i * SLOT_BYTES + HEADROOM;
}

/* Where a reader places what it takes from the kernel as a whole. */
static inline int32_t area_start(int32_t area) {
  return AREAS_START + area * AREA_BYTES + HEADROOM;
}

#define AREA_ROOM (AREA_BYTES - HEADROOM - TAILROOM)

/* The first area behind those that the first `count` packets lie in. */
static inline int32_t free_area(const struct burst *burst, int32_t count) {
  int32_t area = 0;
  for (int32_t i = 0; i < count; i++) {
    int32_t used = (burst->offset[i] - AREAS_START) / AREA_BYTES;
    if (burst->offset[i] >= AREAS_START && used >= area) area = used + 1;
  }
  return area;
}

/* Whether a run of octets that JavaScript named lies inside the arena. */
static inline int in_arena(int64_t start, int64_t length) {
  return start >= 0 && length >= 0 && start + length <= ARENA_BYTES;
}

#endif
