# Sidekey's image: one static binary and the roots of TLS. No shell, no package manager, nothing to update.
# `make image` builds it, from a context that holds nothing but the two files.
FROM scratch

# The platform's roots, for stores whose address is https and that name no `ca_file`.
COPY --chown=0:0 --chmod=0444 ca-certificates.crt /etc/ssl/certs/ca-certificates.crt

# 0151: uid 64917 runs it and can't read it, so the kernel makes the process not dumpable from its
# first instruction. Group 64918 reads it: the group of who copies the binary elsewhere.
COPY --chown=0:64918 --chmod=0151 sidekey /sidekey

USER 64917:64917
ENTRYPOINT ["/sidekey"]
CMD ["run"]
