/* ESP's AEADs over a burst in place (RFC 4106, RFC 7634), by the OpenSSL that the node binary exports or by libipsec-mb;
 * AES-CBC with an HMAC is in cbc.c. One context per key and direction stays warm: a packet costs a nonce, not a key schedule. */
#include "addon.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "aead-vaes.h"
#include "cbc.h"
#include "segments.h"

#define SALT_BYTES 4
#define IV_BYTES 8
#define ICV_BYTES 16
#define ESP_HEADER_BYTES 8
#define SMALLEST_ESP (ESP_HEADER_BYTES + IV_BYTES + ICV_BYTES)
/* Far above what a forwarder holds; a leak of handles ends here and not in the host's memory. */
#define LARGEST_KEY_TABLE (1 << 20)

/* The numbers of drivers/native/aead.ts. */
enum suite { AES_256_GCM = 0, AES_128_GCM = 1, CHACHA20_POLY1305 = 2, FIRST_CBC = 3 };

static const struct cbc_suite CBC_SUITES[] = {
    {32, 256, 32, 16}, {24, 256, 32, 16}, {16, 256, 32, 16}, {32, 384, 48, 24}, {24, 384, 48, 24}, {16, 384, 48, 24},
    {32, 512, 64, 32}, {24, 512, 64, 32}, {16, 512, 64, 32}, {32, 1, 20, 12},   {24, 1, 20, 12},   {16, 1, 20, 12},
};
#define CBC_SUITE_COUNT ((int32_t)(sizeof CBC_SUITES / sizeof *CBC_SUITES))

struct aead_key {
  /* One of these, or both contexts. */
  struct vaes_key *vaes;
  struct cbc_key *cbc;
  EVP_CIPHER_CTX *seal;
  EVP_CIPHER_CTX *open;
  uint8_t salt[SALT_BYTES];
  bool esn;
  struct esp_shape shape;
};

static void free_key(struct aead_key *key) {
  if (key == NULL) return;
  vaes_key_free(key->vaes);
  cbc_key_free(key->cbc);
  EVP_CIPHER_CTX_free(key->seal);
  EVP_CIPHER_CTX_free(key->open);
  OPENSSL_cleanse(key, sizeof *key);
  free(key);
}

void aead_remove_all(struct addon_state *state) {
  for (int32_t i = 0; i < state->key_slots; i++) free_key(state->keys[i]);
  free(state->keys);
  state->keys = NULL;
  state->key_slots = 0;
  vaes_unload(state->vaes);
  state->vaes = NULL;
}

static const struct vaes *sought_vaes(struct addon_state *state) {
  if (!state->vaes_sought) state->vaes = vaes_load();
  state->vaes_sought = true;
  return state->vaes;
}

/* aeadHasVaes(): whether aeadInstall can use libipsec-mb here. */
static napi_value aead_has_vaes(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result = NULL;
  napi_get_boolean(env, sought_vaes(addon_state(env)) != NULL, &result);
  return result;
}

static const EVP_CIPHER *cipher_of(int32_t suite) {
  switch (suite) {
    case AES_256_GCM:
      return EVP_aes_256_gcm();
    case AES_128_GCM:
      return EVP_aes_128_gcm();
    case CHACHA20_POLY1305:
      return EVP_chacha20_poly1305();
    default:
      return NULL;
  }
}

/* NULL for an AEAD, and for what is no suite at all. */
static const struct cbc_suite *cbc_suite_of(int32_t suite) {
  return suite >= FIRST_CBC && suite - FIRST_CBC < CBC_SUITE_COUNT ? &CBC_SUITES[suite - FIRST_CBC] : NULL;
}

static bool fits(int32_t suite, size_t key_bytes, size_t salt_bytes) {
  const struct cbc_suite *cbc = cbc_suite_of(suite);
  if (cbc != NULL) return key_bytes == (size_t)(cbc->cipher_key_bytes + cbc->hmac_key_bytes) && salt_bytes == 0;
  return cipher_of(suite) != NULL && key_bytes == (suite == AES_128_GCM ? 16 : 32) && salt_bytes == SALT_BYTES;
}

static int32_t free_slot(struct addon_state *state) {
  for (int32_t i = 0; i < state->key_slots; i++)
    if (state->keys[i] == NULL) return i;
  int32_t slots = state->key_slots == 0 ? 64 : state->key_slots * 2;
  if (slots > LARGEST_KEY_TABLE) return -1;
  struct aead_key **keys = realloc(state->keys, (size_t)slots * sizeof *keys);
  if (keys == NULL) return -1;
  memset(keys + state->key_slots, 0, (size_t)(slots - state->key_slots) * sizeof *keys);
  int32_t first = state->key_slots;
  state->keys = keys;
  state->key_slots = slots;
  return first;
}

static bool open_contexts(struct aead_key *key, const EVP_CIPHER *cipher, const uint8_t *secret) {
  key->seal = EVP_CIPHER_CTX_new();
  key->open = EVP_CIPHER_CTX_new();
  bool good = key->seal != NULL && key->open != NULL && EVP_EncryptInit_ex(key->seal, cipher, NULL, secret, NULL) == 1 &&
              EVP_DecryptInit_ex(key->open, cipher, NULL, secret, NULL) == 1;
  if (!good) ERR_clear_error();
  return good;
}

/* False when OpenSSL refuses, or without memory. */
static bool make_key(struct addon_state *state, struct aead_key *key, int32_t suite, const uint8_t *secret, size_t secret_length, bool vaes) {
  const struct cbc_suite *cbc = cbc_suite_of(suite);
  if (cbc != NULL) {
    key->shape = (struct esp_shape){16, cbc->icv_bytes, 16};
    key->cbc = cbc_key_new(cbc, secret, key->esn);
    return key->cbc != NULL;
  }
  key->shape = (struct esp_shape){IV_BYTES, ICV_BYTES, 4};
  if (vaes && suite != CHACHA20_POLY1305 && sought_vaes(state) != NULL) key->vaes = vaes_key_new(state->vaes, secret, (int32_t)secret_length);
  return key->vaes != NULL || open_contexts(key, cipher_of(suite), secret);
}

/* aeadInstall(suite, key, salt, esn, vaes): handle. `vaes` asks for libipsec-mb where it is there and has the suite. */
static napi_value aead_install(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  int32_t suite;
  uint8_t *secret, *salt;
  size_t secret_length, salt_length;
  bool esn, vaes;
  if (!get_args(env, info, 5, argv) || !get_int(env, argv[0], "suite", &suite) ||
      !get_bytes(env, argv[1], "key", &secret, &secret_length) ||
      !get_bytes(env, argv[2], "salt", &salt, &salt_length) || !get_bool(env, argv[3], "esn", &esn) ||
      !get_bool(env, argv[4], "vaes", &vaes))
    return NULL;
  if (!fits(suite, secret_length, salt_length)) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "the suite is unknown, or its key or salt has another length");
    return NULL;
  }
  struct addon_state *state = addon_state(env);
  int32_t slot = free_slot(state);
  struct aead_key *key = calloc(1, sizeof *key);
  if (slot < 0 || key == NULL) {
    free(key);
    napi_throw_error(env, "ENOMEM", "no room for another AEAD key");
    return NULL;
  }
  if (salt_length > 0) memcpy(key->salt, salt, salt_length);
  key->esn = esn;
  if (!make_key(state, key, suite, secret, secret_length, vaes)) {
    free_key(key);
    napi_throw_error(env, "ERR_OSSL", "OpenSSL refused the AEAD key");
    return NULL;
  }
  state->keys[slot] = key;
  return make_int(env, slot);
}

/* aeadRemove(handle): wipes the key; an unknown handle is left alone. */
static napi_value aead_remove(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t handle;
  if (!get_args(env, info, 1, argv) || !get_int(env, argv[0], "handle", &handle)) return NULL;
  struct addon_state *state = addon_state(env);
  if (handle >= 0 && handle < state->key_slots) {
    free_key(state->keys[handle]);
    state->keys[handle] = NULL;
  }
  return undefined(env);
}

/* AAD = SPI | [high half of the extended sequence number] | sequence number (RFC 4106 5). */
static int additional_data(const struct aead_key *key, const uint8_t *esp, int32_t seq_hi, uint8_t *aad) {
  if (!key->esn) {
    memcpy(aad, esp, ESP_HEADER_BYTES);
    return ESP_HEADER_BYTES;
  }
  uint32_t high = (uint32_t)seq_hi;
  memcpy(aad, esp, 4);
  aad[4] = (uint8_t)(high >> 24);
  aad[5] = (uint8_t)(high >> 16);
  aad[6] = (uint8_t)(high >> 8);
  aad[7] = (uint8_t)high;
  memcpy(aad + 8, esp + 4, 4);
  return ESP_HEADER_BYTES + 4;
}

static bool seal_packet(const struct aead_key *key, uint8_t *esp, int32_t length, int32_t seq_hi) {
  if (key->cbc != NULL) return cbc_seal(key->cbc, esp, length, seq_hi);
  uint8_t nonce[SALT_BYTES + IV_BYTES], aad[ESP_HEADER_BYTES + 4];
  uint8_t *text = esp + ESP_HEADER_BYTES + IV_BYTES;
  int text_length = length - SMALLEST_ESP, done, aad_length = additional_data(key, esp, seq_hi, aad);
  memcpy(nonce, key->salt, SALT_BYTES);
  memcpy(nonce + SALT_BYTES, esp + ESP_HEADER_BYTES, IV_BYTES);
  if (key->vaes != NULL) {
    vaes_seal(key->vaes, nonce, aad, aad_length, text, text_length);
    return true;
  }
  return EVP_EncryptInit_ex(key->seal, NULL, NULL, NULL, nonce) == 1 &&
         EVP_EncryptUpdate(key->seal, NULL, &done, aad, aad_length) == 1 &&
         EVP_EncryptUpdate(key->seal, text, &done, text, text_length) == 1 &&
         EVP_EncryptFinal_ex(key->seal, text + text_length, &done) == 1 &&
         EVP_CIPHER_CTX_ctrl(key->seal, EVP_CTRL_AEAD_GET_TAG, ICV_BYTES, text + text_length) == 1;
}

/* OpenSSL compares the tag in constant time (CRYPTO_memcmp). */
static bool open_packet(const struct aead_key *key, uint8_t *esp, int32_t length, int32_t seq_hi) {
  if (key->cbc != NULL) return cbc_open(key->cbc, esp, length, seq_hi);
  uint8_t nonce[SALT_BYTES + IV_BYTES], aad[ESP_HEADER_BYTES + 4];
  uint8_t *text = esp + ESP_HEADER_BYTES + IV_BYTES;
  int text_length = length - SMALLEST_ESP, done, aad_length = additional_data(key, esp, seq_hi, aad);
  memcpy(nonce, key->salt, SALT_BYTES);
  memcpy(nonce + SALT_BYTES, esp + ESP_HEADER_BYTES, IV_BYTES);
  if (key->vaes != NULL) return vaes_open(key->vaes, nonce, aad, aad_length, text, text_length);
  return EVP_DecryptInit_ex(key->open, NULL, NULL, NULL, nonce) == 1 &&
         EVP_CIPHER_CTX_ctrl(key->open, EVP_CTRL_AEAD_SET_TAG, ICV_BYTES, text + text_length) == 1 &&
         EVP_DecryptUpdate(key->open, NULL, &done, aad, aad_length) == 1 &&
         EVP_DecryptUpdate(key->open, text, &done, text, text_length) == 1 &&
         EVP_DecryptFinal_ex(key->open, text + text_length, &done) == 1;
}

struct job {
  struct burst *burst;
  int32_t count, select, then, fail_reason;
};

/* (memory, count, select, then, failReason) */
static bool get_job(napi_env env, napi_callback_info info, struct job *job) {
  napi_value argv[5];
  return get_args(env, info, 5, argv) && get_burst(env, argv[0], argv[1], &job->burst, &job->count) &&
         get_int(env, argv[2], "select", &job->select) && get_int(env, argv[3], "then", &job->then) &&
         get_int(env, argv[4], "failReason", &job->fail_reason);
}

static const struct aead_key *key_of(const struct addon_state *state, const struct burst *burst, int32_t i) {
  int32_t handle = burst->sa[i];
  return handle >= 0 && handle < state->key_slots ? state->keys[handle] : NULL;
}

static bool lies_in_arena(const struct burst *burst, int32_t i) {
  return burst->espLength[i] >= SMALLEST_ESP && in_arena(burst->esp[i], burst->espLength[i]);
}

static void settle(const struct job *job, int32_t i, bool good, bool *failed) {
  job->burst->next[i] = good ? job->then : NEXT_DROP;
  if (good) return;
  job->burst->reason[i] = job->fail_reason;
  *failed = true;
}

/* Cuts a super-packet into the output room from *used on and seals its parts there, while they are in the cache; the row
 * becomes the run of them. */
static bool seal_super(const struct aead_key *key, struct burst *burst, int32_t i, int32_t *used) {
  struct super super;
  if (!super_of(burst, i, &key->shape, &super) || *used + super_output(&super) > OUTPUT_BYTES) return false;
  uint8_t *start = burst->bytes + OUTPUT_START + *used, *to = start;
  int32_t largest = 0;
  for (int32_t part = 0; part < super.parts; part++) {
    int32_t esp_bytes, bytes = write_part(&super, part, to, &esp_bytes);
    uint64_t sequence = super.first_sequence + (uint64_t)part;
    if (!seal_packet(key, to + super.esp_at, esp_bytes, (int32_t)(sequence >> 32))) return false;
    if (part == 0) largest = bytes;
    to += bytes;
  }
  burst->offset[i] = (int32_t)(start - burst->bytes);
  burst->length[i] = (int32_t)(to - start);
  burst->segment[i] = super.parts > 1 ? largest : 0;
  burst->headers[i] = burst->inner[i] = 0;
  *used += burst->length[i];
  return true;
}

static napi_value aead_seal(napi_env env, napi_callback_info info) {
  struct job job;
  if (!get_job(env, info, &job)) return NULL;
  const struct addon_state *state = addon_state(env);
  struct burst *burst = job.burst;
  bool failed = false;
  int32_t used = 0;
  for (int32_t i = 0; i < job.count; i++) {
    if (burst->next[i] != job.select) continue;
    const struct aead_key *key = key_of(state, burst, i);
    bool good = key != NULL;
    if (good && burst->segment[i] > 0) good = seal_super(key, burst, i, &used);
    else if (good) good = lies_in_arena(burst, i) && seal_packet(key, burst->bytes + burst->esp[i], burst->espLength[i], burst->seqHi[i]);
    settle(&job, i, good, &failed);
  }
  /* What OpenSSL queued about a bad packet must not surface in someone else's call on this thread. */
  if (failed) ERR_clear_error();
  return undefined(env);
}

static napi_value aead_open(napi_env env, napi_callback_info info) {
  struct job job;
  if (!get_job(env, info, &job)) return NULL;
  const struct addon_state *state = addon_state(env);
  struct burst *burst = job.burst;
  bool failed = false;
  for (int32_t i = 0; i < job.count; i++) {
    if (burst->next[i] != job.select) continue;
    const struct aead_key *key = key_of(state, burst, i);
    bool good = key != NULL && lies_in_arena(burst, i) && open_packet(key, burst->bytes + burst->esp[i], burst->espLength[i], burst->seqHi[i]);
    settle(&job, i, good, &failed);
  }
  if (failed) ERR_clear_error();
  return undefined(env);
}

void register_aead(napi_env env, napi_value exports) {
  define(env, exports, "aeadInstall", aead_install);
  define(env, exports, "aeadHasVaes", aead_has_vaes);
  define(env, exports, "aeadRemove", aead_remove);
  define(env, exports, "aeadSeal", aead_seal);
  define(env, exports, "aeadOpen", aead_open);
}
