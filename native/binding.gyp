{
  # One addon for Node 20 to 24: N-API 8, no exceptions. scripts/build-native.mjs runs node-gyp on it.
  "targets": [
    {
      "target_name": "troupe_native",
      "sources": [
        "src/addon.cc",
        "src/buffer.cc",
        "src/errno-error.cc",
        "src/eventfd.cc",
        "src/ioctl-table.cc",
        "src/malloc-trim.cc",
        "src/mapping.cc",
        "src/owned-fd.cc",
        "src/system.cc",
        "src/vcpu.cc",
        "src/vm.cc"
      ],
      "defines": [
        "NAPI_VERSION=8",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
      ],
      "cflags_cc!": ["-fexceptions", "-fno-rtti", "-std=gnu++17"],
      "cflags_cc": [
        "-std=c++17",
        "-O2",
        "-fno-exceptions",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-isystem",
        "<!(node -p \"require('path').resolve(require('node-addon-api').include_dir)\")"
      ]
    }
  ]
}
