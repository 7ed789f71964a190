// fast-check as the tests see it: the same cases in each run, so that what fails has failed for what was changed. Other cases each time with
// TUN_LONG=1; what fails says its seed.

import { createRequire } from 'node:module'

const fc = createRequire(import.meta.url)('fast-check') as typeof import('fast-check')
if (!process.env.TUN_LONG) fc.configureGlobal({ seed: 6 })

export default fc
