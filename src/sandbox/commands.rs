//! The limits of the helper and of what it starts. A command may be any program, so it is a list of
//! what no command that reloads something needs, and what a program of ours must never be a way to.

use std::io;

use super::seccomp::Filter;

/// Refuses, for this process and for all that it starts, for ever: to look into other processes,
/// to make or enter namespaces, to mount, to load code into the kernel, to use its key rings, and
/// `io_uring`, whose operations no filter sees.
///
/// # Errors
///
/// When the kernel has no seccomp; nothing is limited then.
pub fn limit_commands() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    Filter::refusing(REFUSED).same_namespaces().install()
}

const REFUSED: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];
