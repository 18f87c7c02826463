// Who may import whom (ARCHITECTURE.md, "Folders"). Every rule here has a file in test/architecture/fixture that breaks
// it; test/architecture/import-rules.test.ts fails when one does not fire.
const ACTORS_WITH_NATIVE = '(vcpu|ksm-scanner|balloon-controller)';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'not-to-unresolvable',
      comment: 'Also proves that the #imports map is understood: without it every other rule is blind.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^#native/.*\\.node$' },
    },
    {
      name: 'no-circular',
      comment: 'Types may refer to each other; code may not.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'shared-imports-shared',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(actors|kernel|native)/' },
    },
    {
      name: 'shared-does-no-io',
      comment: 'shared/ is pure knowledge. The exceptions write generated code at build time.',
      severity: 'error',
      from: { path: '^shared/', pathNot: '^shared/(translate|virtio/routines)/build-[^/]+\\.ts$' },
      to: {
        dependencyTypes: ['core'],
        path: '^(node:)?(fs|net|tls|dgram|http|http2|https|child_process|cluster|worker_threads)(/|$)',
      },
    },
    {
      name: 'wasm-knows-no-x86',
      severity: 'error',
      from: { path: '^shared/wasm/' },
      to: { path: '^shared/x86/' },
    },
    {
      name: 'native-imports-shared',
      severity: 'error',
      from: { path: '^native/' },
      to: { path: '^(actors|kernel)/' },
    },
    {
      name: 'actors-import-protocols-only',
      comment: 'Of another actor an actor sees its protocol.ts and nothing else.',
      severity: 'error',
      from: { path: '^actors/([^/]+)/' },
      to: { path: '^actors/', pathNot: ['^actors/$1/', '^actors/[^/]+/protocol\\.ts$'] },
    },
    {
      name: 'actors-do-not-import-kernel',
      severity: 'error',
      from: { path: '^actors/' },
      to: { path: '^kernel/' },
    },
    {
      name: 'native-for-few-actors',
      comment: 'The wire for interrupt messages is for all.',
      severity: 'error',
      from: { path: '^actors/', pathNot: `^actors/${ACTORS_WITH_NATIVE}/` },
      to: { path: '^native/', pathNot: '^native/interrupt-wire\\.ts$' },
    },
    {
      name: 'kernel-imports-protocols-only',
      comment: 'The kernel names actors by their entry, it never imports one.',
      severity: 'error',
      from: { path: '^kernel/' },
      to: { path: '^actors/', pathNot: '^actors/[^/]+/protocol\\.ts$' },
    },
    {
      name: 'native-for-kernel-accel',
      comment: 'kernel/accel asks what the host can do and owns the virtual machine.',
      severity: 'error',
      from: { path: '^kernel/', pathNot: '^kernel/accel/' },
      to: { path: '^native/' },
    },
    {
      name: 'cli-imports-public-api',
      comment: 'What the command line can do, a program that embeds Troupe can do.',
      severity: 'error',
      from: { path: '^kernel/cli/' },
      to: { path: '^kernel/', pathNot: '^kernel/(cli/|index\\.ts$)' },
    },
    {
      name: 'product-does-not-import-tests',
      severity: 'error',
      from: { path: '^(shared|actors|kernel|native|bin)/' },
      to: { path: '^(test|bench|scripts)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|\\.tmp)/' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      conditionNames: ['source', 'import', 'node', 'default'],
      exportsFields: ['exports'],
      extensions: ['.ts', '.mjs', '.js', '.cjs', '.json'],
    },
  },
};
