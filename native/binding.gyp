{
  "targets": [
    {
      "target_name": "tun_native",
      "sources": ["src/addon.cc", "src/checksum.cc"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_DEPRECATED", "NAPI_CPP_EXCEPTIONS"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++17", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"],
      "conditions": [
        ["OS=='linux'", { "sources": ["src/tun_linux.cc", "src/open_linux.cc", "src/segment.cc", "src/descriptors_linux.cc", "src/isolate_linux.cc", "src/tcp_linux.cc", "src/udp_linux.cc", "src/netlink_linux.cc", "src/packet_linux.cc", "src/signals_linux.cc"] }],
        ["OS!='linux'", { "sources": ["src/tun_unsupported.cc"] }],
        ["OS=='mac'", {
          "xcode_settings": {
            "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
            "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES"
          }
        }],
        ["OS=='win'", { "msvs_settings": { "VCCLCompilerTool": { "ExceptionHandling": 1, "AdditionalOptions": ["/std:c++17"] } } }]
      ]
    }
  ]
}
