# syntax=docker/dockerfile:1

# The image of the operator: its two programs and what a C library needs, nothing else. No shell, no package manager.
#
# Why glibc and not a static program: the TLS library (aws-lc) is C and assembly, built and tested by its authors on glibc
# first, and musl's allocator is slow under many threads. The Debian release of the two systems must be the same, since a
# program does not run on an older glibc than it was linked with.

# The version is that of rust-toolchain.toml.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /source

# Dependencies alone, in a layer that stays as long as Cargo.lock does.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY .ci/build-release .ci/
COPY e2e/Cargo.toml e2e/
COPY fuzz/Cargo.toml fuzz/
COPY sops-bench/Cargo.toml sops-bench/
RUN mkdir --parents src/bin e2e/src sops-bench/src \
    && touch src/lib.rs e2e/src/lib.rs \
    && echo 'fn main() {}' \
        | tee src/bin/atmos-secrets-operator.rs src/bin/kubectl-atmos_secret.rs e2e/src/main.rs > sops-bench/src/main.rs \
    && .ci/build-release \
    # The files that are copied next may be older than these stubs, and cargo goes by time.
    && cargo clean --release --package atmos-secrets-operator

COPY src src
RUN .ci/build-release

# The programs alone, for a release and for whoever wants to compare: `docker buildx build --target programs --output FOLDER .`
FROM scratch AS programs
COPY --from=build /source/target/release/atmos-secrets-operator /source/target/release/kubectl-atmos_secret /

# "nonroot" is the user 65532. The release workflow pins this image by digest.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=programs --chown=0:0 --chmod=0555 /atmos-secrets-operator /kubectl-atmos_secret /usr/local/bin/
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/atmos-secrets-operator"]
