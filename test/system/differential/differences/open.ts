// Owns: the list of situations in which the kernel does better than we: what is to be done. An entry leaves with its cure.

import type { Listed } from '../compare.js'

export const OPEN: Listed[] = []
