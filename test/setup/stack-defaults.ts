// Other defaults of the stack, and of the NIC in memory it stands on, for all unit tests:
//   TUN_TEST_STACK='{"prediction":false}' TUN_TEST_DEVICE='{"offload":false}' npx vitest run --project unit

import { DEFAULTS } from '@tun/stack'
import { MEMORY_DEVICE_DEFAULTS } from '@tun/stack/testing'

Object.assign(DEFAULTS, JSON.parse(process.env.TUN_TEST_STACK ?? '{}'))
Object.assign(MEMORY_DEVICE_DEFAULTS, JSON.parse(process.env.TUN_TEST_DEVICE ?? '{}'))
