/* Reading: each packet into an area of its own. A super-packet stays whole, with what cutting it up takes. */
#define _GNU_SOURCE
#include "tun-bursts.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>

#include "checksum.h"

/* Octets that sealing puts around a part: outer headers, ESP, trailer and ICV. */
#define WRAPPING_BYTES (HEADROOM + TAILROOM)

/* Completes a checksum that the host left to its device. */
static bool finish_checksum(uint8_t *packet, int32_t length, const struct virtio_net_hdr *header) {
  int32_t start = header->csum_start, field = start + header->csum_offset;
  if (start > length || field + 2 > length) return false;
  uint16_t sum = checksum_finish(checksum_add(0, packet + start, length - start));
  /* Zero would mean "none" in UDP (RFC 768), and is the same number as all ones. */
  if (sum == 0) sum = 0xffff;
  memcpy(packet + field, &sum, 2);
  return true;
}

/* Octets of the transport header; 0 when there is no such thing in the packet. */
static int32_t transport_header(const uint8_t *packet, int32_t length, int32_t transport, int32_t gso_type) {
  if (gso_type == VIRTIO_NET_HDR_GSO_UDP_L4) return transport + UDP_HEADER_BYTES <= length ? UDP_HEADER_BYTES : 0;
  if (transport + TCP_HEADER_BYTES > length) return 0;
  int32_t bytes = (packet[transport + TCP_DATA_OFFSET] >> 4) * 4;
  return bytes < TCP_HEADER_BYTES ? 0 : bytes;
}

/* Fills in the columns of the row that was just read; false when it makes no sense, or no slot would hold it. */
static bool describe(struct burst *burst, int32_t i, uint8_t *packet, const struct virtio_net_hdr *header) {
  int32_t length = burst->length[i], transport = header->csum_start, version = packet[0] >> 4;
  bool unfinished = (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  burst->segment[i] = burst->headers[i] = burst->inner[i] = burst->mark[i] = 0;
  if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
    return length <= LARGEST_READ && (!unfinished || finish_checksum(packet, length, header));
  bool fits = header->gso_type == VIRTIO_NET_HDR_GSO_TCPV4   ? version == 4
              : header->gso_type == VIRTIO_NET_HDR_GSO_TCPV6 ? version == 6
                                                             : header->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
  int32_t smallest = version == 6 ? IPV6_HEADER_BYTES : version == 4 ? IPV4_HEADER_BYTES : INT32_MAX;
  if (!fits || !unfinished || header->gso_size == 0 || transport < smallest) return false;
  int32_t own = transport_header(packet, length, transport, header->gso_type);
  int32_t headers = transport + own, segment = header->gso_size;
  if (own == 0 || headers >= length || headers + segment > LARGEST_READ) return false;
  burst->transport[i] = transport;
  burst->headers[i] = headers;
  burst->segment[i] = segment;
  return true;
}

/* What a row takes of the room for cutting up. */
static int64_t output_bytes(const struct burst *burst, int32_t i) {
  int32_t segment = burst->segment[i], headers = burst->headers[i];
  if (segment == 0) return 0;
  int64_t parts = (burst->length[i] - headers + segment - 1) / segment;
  return burst->length[i] + parts * (headers + WRAPPING_BYTES);
}

int32_t tun_read(int32_t fd, struct burst *burst, int32_t count) {
  int32_t i = count, area = free_area(burst, count);
  int64_t output = 0;
  while (i < BURST_PACKETS && area < AREAS && output <= OUTPUT_BYTES - LARGEST_OUTPUT) {
    struct virtio_net_hdr header = {0};
    uint8_t *packet = burst->bytes + area_start(area);
    struct iovec vectors[2] = {{&header, sizeof header}, {packet, AREA_ROOM}};
    ssize_t length = readv(fd, vectors, 2);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) break;
    burst->offset[i] = area_start(area);
    burst->length[i] = (int32_t)length - (int32_t)sizeof header;
    if (burst->length[i] <= 0) continue;
    bool good = describe(burst, i, packet, &header);
    int64_t more = good ? output_bytes(burst, i) : 0;
    /* What makes no sense, or has parts so small that it fills the room many times over, becomes an empty packet: its
     * reader counts it as malformed. */
    if (!good || more > LARGEST_OUTPUT) burst->length[i] = burst->segment[i] = 0;
    else output += more;
    area++;
    i++;
  }
  return i;
}
