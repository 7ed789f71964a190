// Other defaults of the stack for all unit tests: TUN_TEST_STACK='{"prediction":false}' npx vitest run --project unit

import { DEFAULTS } from '@tun/stack'

Object.assign(DEFAULTS, JSON.parse(process.env.TUN_TEST_STACK ?? '{}'))
