// Indices and bits of the model-specific registers that the virtual CPU has. Intel SDM vol. 4; names as spelled there.
// The KVM ones are of Linux Documentation/virt/kvm/x86/msr.rst.

export const IA32_TIME_STAMP_COUNTER = 0x10;
export const IA32_PLATFORM_ID = 0x17;
export const IA32_APIC_BASE = 0x1b;
export const IA32_FEATURE_CONTROL = 0x3a;
export const IA32_TSC_ADJUST = 0x3b;
export const IA32_BIOS_SIGN_ID = 0x8b;
export const MSR_PLATFORM_INFO = 0xce;
export const IA32_MTRRCAP = 0xfe;
export const IA32_ARCH_CAPABILITIES = 0x10a;
export const IA32_SYSENTER_CS = 0x174;
export const IA32_SYSENTER_ESP = 0x175;
export const IA32_SYSENTER_EIP = 0x176;
export const IA32_MCG_CAP = 0x179;
export const IA32_MCG_STATUS = 0x17a;
export const IA32_MISC_ENABLE = 0x1a0;
export const IA32_DEBUGCTL = 0x1d9;
export const IA32_MTRR_PHYSBASE0 = 0x200;
export const IA32_MTRR_PHYSMASK7 = 0x20f;
export const IA32_MTRR_FIX64K_00000 = 0x250;
export const IA32_MTRR_FIX16K_80000 = 0x258;
export const IA32_MTRR_FIX16K_A0000 = 0x259;
export const IA32_MTRR_FIX4K_C0000 = 0x268;
export const IA32_MTRR_FIX4K_F8000 = 0x26f;
export const IA32_PAT = 0x277;
export const IA32_MTRR_DEF_TYPE = 0x2ff;
export const IA32_MC0_CTL = 0x400;
export const IA32_TSC_DEADLINE = 0x6e0;
export const IA32_X2APIC_FIRST = 0x800;
export const IA32_X2APIC_LAST = 0x8ff;
export const IA32_EFER = 0xc000_0080;
export const IA32_STAR = 0xc000_0081;
export const IA32_LSTAR = 0xc000_0082;
export const IA32_CSTAR = 0xc000_0083;
export const IA32_FMASK = 0xc000_0084;
export const IA32_FS_BASE = 0xc000_0100;
export const IA32_GS_BASE = 0xc000_0101;
export const IA32_KERNEL_GS_BASE = 0xc000_0102;
export const IA32_TSC_AUX = 0xc000_0103;
export const MSR_KVM_WALL_CLOCK_NEW = 0x4b56_4d00;
export const MSR_KVM_SYSTEM_TIME_NEW = 0x4b56_4d01;

export const EFER_SCE = 1 << 0;
export const EFER_LME = 1 << 8;
export const EFER_LMA = 1 << 10;
export const EFER_NXE = 1 << 11;

/** Variable-range MTRRs, and machine-check banks (which never report anything). */
export const MTRR_VARIABLE_COUNT = 8;
export const MCE_BANK_COUNT = 2;

/**
 * RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO,
 * PBRSB_NO, GDS_NO, RFDS_NO: an interpreter does not speculate on the guest's behalf.
 */
export const ARCH_CAPABILITIES_LOW =
  (1 << 0) |
  (1 << 3) |
  (1 << 4) |
  (1 << 5) |
  (1 << 6) |
  (1 << 8) |
  (1 << 13) |
  (1 << 14) |
  (1 << 15) |
  (1 << 20) |
  (1 << 24) |
  (1 << 26) |
  (1 << 27);
/** ITS_NO, bit 62. */
export const ARCH_CAPABILITIES_HIGH = 1 << 30;
