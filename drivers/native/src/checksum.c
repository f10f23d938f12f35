#include "checksum.h"

#include <arpa/inet.h>
#include <string.h>

/* Twice the vector width where the processor has it. */
#ifdef __x86_64__
__attribute__((target_clones("avx2", "default")))
#endif
uint64_t checksum_add(uint64_t sum, const uint8_t *bytes, int32_t length) {
  /* Two accumulators of 32-bit words cannot overflow at these lengths, and let the compiler use vectors. */
  uint64_t even = 0, odd = 0;
  int32_t i = 0;
  for (; i + 8 <= length; i += 8) {
    uint32_t a, b;
    memcpy(&a, bytes + i, 4);
    memcpy(&b, bytes + i + 4, 4);
    even += a;
    odd += b;
  }
  sum += (even & 0xffffffff) + (even >> 32) + (odd & 0xffffffff) + (odd >> 32);
  for (; i + 2 <= length; i += 2) {
    uint16_t word;
    memcpy(&word, bytes + i, 2);
    sum += word;
  }
  if (i < length) {
    uint16_t word = 0;
    memcpy(&word, bytes + i, 1);
    sum += word;
  }
  return sum;
}

uint16_t checksum_fold(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

uint16_t checksum_finish(uint64_t sum) {
  return (uint16_t)~checksum_fold(sum);
}

uint64_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, int32_t transport_bytes) {
  uint64_t sum = (uint64_t)htons(protocol) + htons((uint16_t)transport_bytes);
  return ip[0] >> 4 == 4 ? checksum_add(sum, ip + 12, 8) : checksum_add(sum, ip + 8, 32);
}
