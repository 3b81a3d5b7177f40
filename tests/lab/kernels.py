"""Debian kernels for the lab, downloaded with apt from the archive that this machine uses, and unpacked into the user's
cache folder. Nothing is installed; apt gets package lists and folders of its own, so no privilege is needed.
"""
import glob
import lzma
import os
import re
import shutil
import subprocess

# What each kernel is for, and the suite it comes from.
SUITES = {"old": "bookworm", "current": "trixie", "newest": "sid"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
META_PACKAGE = "linux-image-cloud-amd64"
# modprobe is asked for what they need besides, and for the order.
MODULES = ("virtio_pci", "virtio_blk", "ext4", "nfit", "nd_btt", "nd_pmem", "device_dax", "dax_pmem", "kmem")


class Unavailable(Exception):
    """The lab cannot run here; the text says why and what to do."""


def output_of(*command, cwd=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command[:2])} failed: {done.stderr.strip()}")
    return done.stdout


class Kernel:
    """One unpacked kernel: `image` to boot, and its modules."""

    def __init__(self, folder):
        self.folder = folder
        images = glob.glob(f"{folder}/boot/vmlinuz-*") or glob.glob(f"{folder}/lib/modules/*/vmlinuz")
        if len(images) != 1:
            raise Unavailable(f"{folder} holds {len(images)} kernels instead of one: remove it")
        self.image = images[0]
        self.release = os.path.basename(glob.glob(f"{folder}/lib/modules/*")[0])

    def modules(self):
        """Paths of the modules to load, in order."""
        paths = []
        for module in MODULES:
            shown = output_of("/sbin/modprobe", "-C", "/dev/null", "-d", self.folder, "-S", self.release,
                              "--show-depends", module)
            for line in shown.splitlines():
                words = line.split()
                if words[0] == "insmod" and words[1] not in paths:
                    paths.append(words[1])
        return paths

    def put_modules(self, root):
        """Copies the modules under `root`, decompressed; returns their paths there."""
        placed = []
        os.makedirs(f"{root}/modules")
        for path in self.modules():
            name = os.path.basename(path).removesuffix(".xz")
            with (lzma.open if path.endswith(".xz") else open)(path, "rb") as source, \
                    open(f"{root}/modules/{name}", "wb") as target:
                shutil.copyfileobj(source, target)
            placed.append(f"/modules/{name}")
        return placed


def debian_archive():
    """The address of the Debian archive among this machine's package sources."""
    lines = output_of("apt-get", "indextargets", "--format", "$(REPO_URI)|$(ORIGIN)|$(LABEL)", "Created-By: Packages")
    for line in lines.splitlines():
        address, origin, label = line.split("|")
        if (origin, label) == ("Debian", "Debian"):
            return address
    raise Unavailable("no Debian archive among this machine's package sources (/etc/apt), or its lists were never "
                      "fetched (apt-get update): the lab takes its kernels from there")


def depends(options, package, kind):
    """Names of the packages linux-`kind`-VERSION that a package depends on."""
    shown = output_of("apt-cache", *options, "show", "--no-all-versions", package)
    return re.findall(rf"\blinux-{kind}-\d[^\s,]*", re.search("^Depends:.*", shown, re.MULTILINE)[0])


def fetch(name, cache, refresh, say):
    """The kernel called `name`: from the cache, or downloaded."""
    folder = os.path.join(cache, name)
    if os.path.isdir(folder) and not refresh:
        return Kernel(folder)
    suite, work = SUITES[name], os.path.join(cache, f".{name}.{os.getpid()}")
    try:
        for part in ("lists/partial", "cache/archives/partial", "download", "kernel"):
            os.makedirs(os.path.join(work, part))
        with open(os.path.join(work, "sources.list"), "w", encoding="utf-8") as sources:
            sources.write(f"deb [arch=amd64 signed-by={KEYRING}] {debian_archive()} {suite} main\n")
        options = ["-q", f"-o=Dir::Etc::sourcelist={work}/sources.list", "-o=Dir::Etc::sourceparts=-",
                   f"-o=Dir::State::lists={work}/lists", "-o=Dir::State::status=/dev/null",
                   f"-o=Dir::Cache={work}/cache", "-o=Acquire::Languages=none", "-o=APT::Sandbox::User="]
        say(f"{name} kernel: package list of {suite}")
        output_of("apt-get", *options, "update")
        package = depends(options, META_PACKAGE, "image")[0]
        say(f"{name} kernel: {package}")
        # Since Debian 14 the kernel and its modules are packages of their own.
        output_of("apt-get", *options, "download", package, *depends(options, package, "(?:base|binary|modules)"),
                  cwd=f"{work}/download")
        kernel = f"{work}/kernel"
        for archive in glob.glob(f"{work}/download/*.deb"):
            output_of("dpkg-deb", "-x", archive, kernel)
        if not os.path.lexists(f"{kernel}/lib"):  # packages since Debian 13 know /usr/lib only
            os.symlink("usr/lib", f"{kernel}/lib")
        output_of("/sbin/depmod", "-b", kernel, Kernel(kernel).release)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(kernel, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Kernel(folder)
