"""Metrics: of images (PSNR, SSIM, LPIPS), of populations of them (Frechet, kernel), and of posterior samples."""
