"""Image metrics: per-image PSNR, SSIM and LPIPS; Frechet and kernel distances between populations."""
