// What an image needs of each architecture: packages of Debian, how GRUB is built, what the firmware starts.
import type { Architecture } from './architecture.ts';

export interface ImagePlatform {
  readonly kernelPackage: string;
  readonly grubPackage: string;
  /** `grub-mkimage --format`, and the folder of its modules. */
  readonly grubFormat: string;
  /** What firmware starts from a disk that it knows nothing about (UEFI 3.5.1.1). */
  readonly bootFile: string;
  /** Serial console as the kernel names it. */
  readonly console: string;
}

const PLATFORMS: Readonly<Record<Architecture['machine'], ImagePlatform>> = {
  x86_64: { kernelPackage: 'linux-image-amd64', grubPackage: 'grub-efi-amd64-bin', grubFormat: 'x86_64-efi', bootFile: 'BOOTX64.EFI', console: 'ttyS0,115200' },
  aarch64: { kernelPackage: 'linux-image-arm64', grubPackage: 'grub-efi-arm64-bin', grubFormat: 'arm64-efi', bootFile: 'BOOTAA64.EFI', console: 'ttyAMA0,115200' },
};

export function imagePlatform(architecture: Architecture): ImagePlatform {
  return PLATFORMS[architecture.machine];
}
