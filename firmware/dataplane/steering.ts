// Programs for the kernel that choose the worker's socket for what arrives on UDP 4790: classic BPF over the VNI and the
// outer source address, so that it does not matter which source port a peer or a NAT uses. What they cannot know (several
// peers behind one address, an endpoint that moved a moment ago) arrives at another worker and is handed over.
//
//   h = VNI;  for each word of the address:  h = (h ^ word) * MULTIPLIER;  h = h ^ (h >> 15)
//   h is a key of the table: its worker, else: h mod workers

/** One instruction: code 2 | jump if true 1 | jump if false 1 | operand 4, in the machine's order, which is little-endian. */
const INSTRUCTION_BYTES = 8;
const LOAD_WORD = 0x20;
const MULTIPLY = 0x24;
const SHIFT_RIGHT = 0x74;
const MODULO = 0x94;
const XOR_INDEX = 0xac;
const TO_INDEX = 0x07;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const RETURN_ACCUMULATOR = 0x16;

/** Loads from here on count from the IP header (linux/filter.h, SKF_NET_OFF); others from the UDP payload. */
const NETWORK_HEADER = -0x10_0000;
const SOURCES: Readonly<Record<number, readonly number[]>> = { 4: [12], 6: [8, 12, 16, 20] };
const VNI_WORD = 4;
const VNI_SHIFT = 8;
const MULTIPLIER = 0x9e37_79b1;
const MIX_SHIFT = 15;

export type SteeringTable = ReadonlyMap<number, number>;

/** What the program makes of a tenant's packets from an address. */
export function steeringKey(vni: number, address: Uint8Array): number {
  const view = new DataView(address.buffer, address.byteOffset, address.length);
  let hash = vni;
  for (let at = 0; at < address.length; at += 4) {
    hash = Math.imul(hash ^ view.getUint32(at), MULTIPLIER);
    hash ^= hash >>> MIX_SHIFT;
  }
  return hash >>> 0;
}

/** The worker of a key that no table names. */
export function workerOfKey(key: number, workers: number): number {
  return key % workers;
}

/** For the sockets of one family. */
export function steeringProgram(family: 4 | 6, table: SteeringTable, workers: number): Uint8Array {
  const code: (readonly [code: number, operand: number, ifFalse?: number])[] = [[LOAD_WORD, VNI_WORD], [SHIFT_RIGHT, VNI_SHIFT]];
  for (const source of SOURCES[family]!) {
    code.push([TO_INDEX, 0], [LOAD_WORD, NETWORK_HEADER + source], [XOR_INDEX, 0], [MULTIPLY, MULTIPLIER]);
    code.push([TO_INDEX, 0], [SHIFT_RIGHT, MIX_SHIFT], [XOR_INDEX, 0]);
  }
  for (const [key, worker] of table) code.push([JUMP_IF_EQUAL, key, 1], [RETURN, worker]);
  code.push([MODULO, workers], [RETURN_ACCUMULATOR, 0]);
  const program = new Uint8Array(code.length * INSTRUCTION_BYTES);
  const view = new DataView(program.buffer);
  for (const [i, [instruction, operand, ifFalse = 0]] of code.entries()) {
    view.setUint16(i * INSTRUCTION_BYTES, instruction, true);
    program[i * INSTRUCTION_BYTES + 3] = ifFalse;
    view.setUint32(i * INSTRUCTION_BYTES + 4, operand >>> 0, true);
  }
  return program;
}
