// Owns: how a field that counts bytes is declared.

/**
 * What a field that will outgrow 2^31 is declared with, before it is set to what it begins with. V8 lays a field out for the numbers it has
 * seen, and when one comes that does not fit it throws away all compiled code that knows such objects. With counters that began as small
 * integers this was the whole way of a packet, for a second, two or three times at 2 GiB of traffic (`node --trace-generalization`).
 */
export const DOUBLE = 0.5
