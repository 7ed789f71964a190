import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type OpenTarget, openError } from './errors.js'

const native = (code: string, syscall: string, detail?: string) => Object.assign(new Error(code), { code, errno: -1, syscall, detail })

const byName: OpenTarget = { url: 'dev://tun0', name: 'tun0', mtu: 20 }
const byFd: OpenTarget = { url: 'fd://3', fd: 3 }

describe('an error of opening', () => {
  it('says in one line what is wrong and which command fixes it', () => {
    const failures: [OpenTarget, Error][] = [
      [byName, native('EPERM', 'TUNSETIFF')],
      [byName, native('EPERM', 'TUNSETIFF', 'tun')],
      [byName, native('EACCES', 'open')],
      [byName, native('EBUSY', 'TUNSETIFF', 'tun')],
      [byName, native('EINVAL', 'TUNSETIFF', 'tap')],
      [byName, native('EINVAL', 'TUNSETIFF', 'tun')],
      [byName, native('EINVAL', 'TUNSETIFF', 'other')],
      [byName, native('EINVAL', 'TUNSETIFF')],
      [byName, native('ENOENT', 'open')],
      [byName, native('ENODEV', 'open')],
      [byName, native('EINVAL', 'SIOCSIFMTU')],
      [byName, native('EPERM', 'SIOCSIFMTU')],
      [byName, native('ENFILE', 'open')],
      [byName, native('ERR_TUN_UNSUPPORTED_PLATFORM', 'open', 'unsupported-platform')],
      [byName, Object.assign(new Error('x'), { code: 'ERR_TUN_NATIVE_UNAVAILABLE', hint: 'install a compiler' })],
      [byFd, native('EBADF', 'fstat')],
      [byFd, native('ENOTTY', 'TUNGETIFF', 'file')],
      [byFd, native('EINVAL', 'getsockopt', 'stream-socket')],
      [byFd, native('EINVAL', 'TUNGETIFF', 'tap')],
      [byFd, native('EBADFD', 'TUNGETIFF', 'unattached')],
      [byFd, native('EMFILE', 'fcntl')],
    ]
    const lines = failures.map(([target, cause]) => {
      const error = openError(cause, target, 'linux')
      expect(error.message).not.toContain('\n')
      expect(error).toMatchObject({ name: 'TunError', device: target.url, cause })
      return `${error.code} ${error.message}`.replaceAll(/(;|, or:) /g, '$1\n')
    })
    expect(lines).toMatchInlineSnapshot(`
      [
        "ERR_TUN_PERMISSION dev://tun0: creating a NIC is not permitted;
      run as root, or create it once: sudo ip tuntap add dev tun0 mode tun user $USER && sudo ip link set tun0 up",
        "ERR_TUN_PERMISSION dev://tun0: the NIC belongs to another user;
      run as its owner or root, or:
      sudo ip link delete tun0 && sudo ip tuntap add dev tun0 mode tun user $USER && sudo ip link set tun0 up",
        "ERR_TUN_PERMISSION dev://tun0: /dev/net/tun cannot be opened by this user;
      run as root, or:
      sudo chmod 0666 /dev/net/tun",
        "ERR_TUN_BUSY dev://tun0: another process has this NIC open;
      stop that process or choose another name",
        "ERR_TUN_NOT_A_TUN dev://tun0: the NIC is a TAP, not a TUN;
      choose another name, or:
      sudo ip link delete tun0 && sudo ip tuntap add dev tun0 mode tun user $USER && sudo ip link set tun0 up",
        "ERR_TUN_QUEUE_FLAGS dev://tun0: the NIC was created with other flags (multi_queue);
      create it again: sudo ip link delete tun0 && sudo ip tuntap add dev tun0 mode tun user $USER && sudo ip link set tun0 up",
        "ERR_TUN_NOT_A_TUN dev://tun0: a NIC of that name exists and is not a TUN;
      choose another name",
        "ERR_TUN_DEVICE_URL dev://tun0: the kernel refuses this NIC name;
      choose another name, e.g. dev://tun0",
        "ERR_TUN_NO_DEVICE_NODE dev://tun0: /dev/net/tun does not work here;
      run: sudo modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)",
        "ERR_TUN_NO_DEVICE_NODE dev://tun0: /dev/net/tun does not work here;
      run: sudo modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)",
        "ERR_TUN_MTU dev://tun0: the kernel refuses mtu 20;
      use 1280 to 65535 (IPv4 alone: from 68)",
        "ERR_TUN_PERMISSION dev://tun0: SIOCSIFMTU is not permitted;
      run as root, or:
      sudo setcap cap_net_admin+ep "$(command -v node)"",
        "ERR_TUN_SYSTEM dev://tun0: open failed with ENFILE",
        "ERR_TUN_UNSUPPORTED_PLATFORM dev://tun0: TUN devices are not supported on linux;
      run it on Linux",
        "ERR_TUN_NATIVE_UNAVAILABLE dev://tun0: the native addon is not built for this machine;
      install a compiler",
        "ERR_TUN_BAD_DESCRIPTOR fd://3: descriptor 3 is not open in this process;
      let the parent process pass it on (stdio)",
        "ERR_TUN_NOT_A_TUN fd://3: descriptor 3 is a regular file;
      pass a TUN opened with IFF_TUN|IFF_NO_PI, or an AF_UNIX datagram or seqpacket socket",
        "ERR_TUN_NOT_A_TUN fd://3: descriptor 3 is a stream socket, which keeps no packet boundaries;
      pass a TUN opened with IFF_TUN|IFF_NO_PI, or an AF_UNIX datagram or seqpacket socket",
        "ERR_TUN_NOT_A_TUN fd://3: descriptor 3 is a TAP, not a TUN;
      pass a TUN opened with IFF_TUN|IFF_NO_PI, or an AF_UNIX datagram or seqpacket socket",
        "ERR_TUN_NOT_A_TUN fd://3: descriptor 3 is /dev/net/tun without a NIC (TUNSETIFF was not called);
      pass a TUN opened with IFF_TUN|IFF_NO_PI, or an AF_UNIX datagram or seqpacket socket",
        "ERR_TUN_SYSTEM fd://3: fcntl failed with EMFILE",
      ]
    `)
  })

  it('speaks of what there is on macOS', () => {
    const utun: OpenTarget = { url: 'dev://utun', name: 'utun' }
    const failures: [OpenTarget, Error][] = [
      [utun, native('EPERM', 'connect')],
      [utun, native('EPERM', 'SIOCSIFMTU')],
      [utun, native('EINVAL', 'SIOCAIFADDR_IN6')],
      [utun, native('ENOBUFS', 'connect')],
      [byFd, native('EINVAL', 'getsockopt', 'stream-socket')],
    ]
    const lines = failures.map(([target, cause]) => {
      const error = openError(cause, target, 'darwin')
      return `${error.code} ${error.message}`.replaceAll(/(;|, or:) /g, '$1\n')
    })
    expect(lines).toMatchInlineSnapshot(`
      [
        "ERR_TUN_PERMISSION dev://utun: making a utun needs root;
      run it with sudo, or pass an open utun as fd://N",
        "ERR_TUN_PERMISSION dev://utun: SIOCSIFMTU is not permitted;
      run it with sudo",
        "ERR_TUN_ADDRESS dev://utun: the kernel refuses an address (EINVAL);
      see that no other NIC has it",
        "ERR_TUN_SYSTEM dev://utun: connect failed with ENOBUFS",
        "ERR_TUN_NOT_A_TUN fd://3: descriptor 3 is a stream socket, which keeps no packet boundaries;
      pass a utun, or an AF_UNIX datagram socket",
      ]
    `)
  })

  it('speaks of Wintun and of its own numbers on Windows', () => {
    const win = (syscall: string, win32: number, detail?: string) => Object.assign(native('EIO', syscall, detail), { win32 })
    const failures = [
      win('LoadLibraryEx', 126, 'wintun-missing'),
      win('LoadLibraryEx', 193, 'wintun-architecture'),
      win('GetProcAddress', 127, 'wintun-version'),
      win('WintunCreateAdapter', 5),
      win('WintunCreateAdapter', 87),
      win('WintunOpenAdapter', 1168, 'not-wintun'),
      win('WintunStartSession', 1247),
      win('SetIpInterfaceEntry', 87),
      win('CreateUnicastIpAddressEntry', 87),
      win('WintunCreateAdapter', 1168),
    ]
    const lines = failures.map(cause => {
      const error = openError(cause, byName, 'win32')
      return `${error.code} ${error.message}`
        .replaceAll(/(;|, or:) /g, '$1\n')
        .replaceAll(dirname(process.execPath), 'NODE')
        .replaceAll(process.arch, 'ARCH')
    })
    expect(lines.map(line => line.replace(/bin\\\w+\\/, 'bin\\ARCH\\'))).toMatchInlineSnapshot(`
      [
        "ERR_TUN_NO_DRIVER dev://tun0: wintun.dll is not there;
      get it from https://www.wintun.net and put bin\\ARCH\\wintun.dll of the archive into NODE",
        "ERR_TUN_NO_DRIVER dev://tun0: wintun.dll is not for ARCH;
      get it from https://www.wintun.net and put bin\\ARCH\\wintun.dll of the archive into NODE",
        "ERR_TUN_NO_DRIVER dev://tun0: wintun.dll is too old;
      get it from https://www.wintun.net and put bin\\ARCH\\wintun.dll of the archive into NODE",
        "ERR_TUN_PERMISSION dev://tun0: WintunCreateAdapter is not permitted;
      run it as administrator",
        "ERR_TUN_DEVICE_URL dev://tun0: Windows refuses this name;
      choose another name, e.g. dev://tun0",
        "ERR_TUN_NOT_A_TUN dev://tun0: a network connection of that name exists and is no Wintun adapter;
      choose another name",
        "ERR_TUN_BUSY dev://tun0: another process uses this adapter;
      stop that process or choose another name",
        "ERR_TUN_MTU dev://tun0: Windows refuses the mtu (error 87);
      use 1280 to 65535",
        "ERR_TUN_ADDRESS dev://tun0: Windows refuses an address (error 87);
      see that no other adapter has it",
        "ERR_TUN_SYSTEM dev://tun0: WintunCreateAdapter failed with EIO (Windows error 1168)",
      ]
    `)
  })

  it('carries errno and system call of the cause', () => {
    expect(openError(native('EBUSY', 'TUNSETIFF'), byName)).toMatchObject({ code: 'ERR_TUN_BUSY', errno: -1, syscall: 'TUNSETIFF' })
  })
})
