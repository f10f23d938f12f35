/* libipsec-mb seals a packet in about half of the time that OpenSSL's EVP takes: no dispatch per packet and a hash table
 * of 48 powers per key. The library's own functions for one processor family are taken by name, so that neither its
 * header is needed to compile nor its manager's layout to run; a version without them, or one whose structures grew, is
 * found out by a comparison with OpenSSL and left alone. */
#define _GNU_SOURCE
#include "aead-vaes.h"

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define ICV_BYTES 16
#define NONCE_BYTES 12
/* The library's key structure has 1008 octets, its context 96; both are aligned to a cache line here. */
#define KEY_BYTES 4096
#define CONTEXT_BYTES 512
#define ALIGNMENT 64

typedef void (*precompute_function)(const void *secret, void *key);
typedef void (*crypt_function)(const void *key, void *context, uint8_t *out, const uint8_t *in, uint64_t length, const uint8_t *nonce,
                               const uint8_t *aad, uint64_t aad_length, uint8_t *tag, uint64_t tag_length);

struct functions {
  precompute_function precompute;
  crypt_function encrypt, decrypt;
};

struct vaes {
  void *library;
  struct functions aes128, aes256;
};

struct vaes_key {
  _Alignas(ALIGNMENT) uint8_t schedule[KEY_BYTES];
  struct functions functions;
};

#ifdef __x86_64__
static bool processor_fits(void) {
  return __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("bmi2");
}
#else
static bool processor_fits(void) {
  return false;
}
#endif

static bool find(void *library, const char *precompute, const char *encrypt, const char *decrypt, struct functions *functions) {
  *(void **)&functions->precompute = dlsym(library, precompute);
  *(void **)&functions->encrypt = dlsym(library, encrypt);
  *(void **)&functions->decrypt = dlsym(library, decrypt);
  return functions->precompute != NULL && functions->encrypt != NULL && functions->decrypt != NULL;
}

struct vaes_key *vaes_key_new(const struct vaes *vaes, const uint8_t *secret, int32_t key_bytes) {
  struct vaes_key *key = aligned_alloc(ALIGNMENT, sizeof *key);
  if (key == NULL) return NULL;
  memset(key, 0, sizeof *key);
  key->functions = key_bytes == 16 ? vaes->aes128 : vaes->aes256;
  key->functions.precompute(secret, key->schedule);
  return key;
}

void vaes_key_free(struct vaes_key *key) {
  if (key == NULL) return;
  OPENSSL_cleanse(key, sizeof *key);
  free(key);
}

void vaes_seal(const struct vaes_key *key, const uint8_t *nonce, const uint8_t *aad, int32_t aad_bytes, uint8_t *text, int32_t text_bytes) {
  _Alignas(ALIGNMENT) uint8_t context[CONTEXT_BYTES];
  key->functions.encrypt(key->schedule, context, text, text, (uint64_t)text_bytes, nonce, aad, (uint64_t)aad_bytes, text + text_bytes, ICV_BYTES);
}

bool vaes_open(const struct vaes_key *key, const uint8_t *nonce, const uint8_t *aad, int32_t aad_bytes, uint8_t *text, int32_t text_bytes) {
  _Alignas(ALIGNMENT) uint8_t context[CONTEXT_BYTES];
  uint8_t tag[ICV_BYTES];
  key->functions.decrypt(key->schedule, context, text, text, (uint64_t)text_bytes, nonce, aad, (uint64_t)aad_bytes, tag, ICV_BYTES);
  return CRYPTO_memcmp(tag, text + text_bytes, ICV_BYTES) == 0;
}

/* What OpenSSL makes of the same packet. */
static bool reference(const uint8_t *secret, int32_t key_bytes, const uint8_t *nonce, const uint8_t *aad, int32_t aad_bytes, uint8_t *text, int32_t text_bytes) {
  int done;
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  bool good = context != NULL && EVP_EncryptInit_ex(context, key_bytes == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(), NULL, secret, nonce) == 1 &&
              EVP_EncryptUpdate(context, NULL, &done, aad, aad_bytes) == 1 && EVP_EncryptUpdate(context, text, &done, text, text_bytes) == 1 &&
              EVP_EncryptFinal_ex(context, text + text_bytes, &done) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, ICV_BYTES, text + text_bytes) == 1;
  EVP_CIPHER_CTX_free(context);
  ERR_clear_error();
  return good;
}

/* Whether sealing and opening agree with OpenSSL, and write nothing beyond the room that keys have here. */
static bool agrees(const struct vaes *vaes, int32_t key_bytes) {
  static const int32_t LENGTHS[] = {0, 1, 15, 16, 17, 255, 256, 1400};
  uint8_t secret[32], nonce[NONCE_BYTES], aad[NONCE_BYTES], ours[1400 + ICV_BYTES], theirs[1400 + ICV_BYTES];
  for (size_t i = 0; i < sizeof secret; i++) secret[i] = (uint8_t)(i * 7 + 1);
  for (size_t i = 0; i < NONCE_BYTES; i++) nonce[i] = aad[i] = (uint8_t)(i * 5 + 3);
  struct vaes_key *key = vaes_key_new(vaes, secret, key_bytes);
  bool good = key != NULL && memcmp(key->schedule + KEY_BYTES / 2, (uint8_t[64]){0}, 64) == 0;
  for (size_t k = 0; good && k < sizeof LENGTHS / sizeof *LENGTHS; k++) {
    int32_t length = LENGTHS[k];
    for (int32_t i = 0; i < length; i++) ours[i] = theirs[i] = (uint8_t)(i ^ length);
    vaes_seal(key, nonce, aad, NONCE_BYTES, ours, length);
    good = reference(secret, key_bytes, nonce, aad, NONCE_BYTES, theirs, length) && memcmp(ours, theirs, (size_t)length + ICV_BYTES) == 0 &&
           vaes_open(key, nonce, aad, NONCE_BYTES, ours, length);
    theirs[length] ^= 1;
    good = good && !vaes_open(key, nonce, aad, NONCE_BYTES, theirs, length);
  }
  vaes_key_free(key);
  return good;
}

struct vaes *vaes_load(void) {
  if (!processor_fits()) return NULL;
  struct vaes *vaes = calloc(1, sizeof *vaes);
  if (vaes == NULL) return NULL;
  vaes->library = dlopen("libIPSec_MB.so.1", RTLD_NOW | RTLD_LOCAL);
  if (vaes->library == NULL) vaes->library = dlopen("libIPSec_MB.so.2", RTLD_NOW | RTLD_LOCAL);
  if (vaes->library != NULL &&
      find(vaes->library, "aes_gcm_pre_128_vaes_avx512", "aes_gcm_enc_128_vaes_avx512", "aes_gcm_dec_128_vaes_avx512", &vaes->aes128) &&
      find(vaes->library, "aes_gcm_pre_256_vaes_avx512", "aes_gcm_enc_256_vaes_avx512", "aes_gcm_dec_256_vaes_avx512", &vaes->aes256) &&
      agrees(vaes, 16) && agrees(vaes, 32))
    return vaes;
  vaes_unload(vaes);
  return NULL;
}

void vaes_unload(struct vaes *vaes) {
  if (vaes == NULL) return;
  if (vaes->library != NULL) dlclose(vaes->library);
  free(vaes);
}
