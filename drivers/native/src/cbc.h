/* AES-CBC and an HMAC for ESP (RFC 3602, RFC 4868), by the OpenSSL that the node binary exports. */
#ifndef SELVAGE_CBC_H
#define SELVAGE_CBC_H

#include <stdbool.h>
#include <stdint.h>

struct cbc_key;

/* What a suite is made of; `digest` 256, 384, 512 or 1. */
struct cbc_suite {
  int32_t cipher_key_bytes, digest, hmac_key_bytes, icv_bytes;
};

/* `secret`: the cipher's key, then the HMAC's. NULL without memory, or when OpenSSL refuses. */
struct cbc_key *cbc_key_new(const struct cbc_suite *suite, const uint8_t *secret, bool esn);
void cbc_key_free(struct cbc_key *key);

/* In place, over `length` octets from the SPI to the end of the ICV. The packet's number, 64 bits and then 64 bits of
 * zeros, stands where the IV will be. False for a length that is not of whole blocks. */
bool cbc_seal(const struct cbc_key *key, uint8_t *esp, int32_t length, int32_t seq_hi);
/* False, with nothing decrypted, when the ICV is wrong; it is compared in constant time. */
bool cbc_open(const struct cbc_key *key, uint8_t *esp, int32_t length, int32_t seq_hi);

#endif
