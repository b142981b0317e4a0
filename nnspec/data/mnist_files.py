"""The four files of MNIST: what they are called, what is in them, and where they can be fetched."""

from __future__ import annotations

from nnspec.data.idx import IdxFile

__all__ = ["MNIST_FILES", "MNIST_MIRRORS", "Files"]

Files = tuple[IdxFile, IdxFile, IdxFile, IdxFile]
"""Training images and labels, then test images and labels."""

MNIST_FILES: Files = (
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        2_500,
        (
            "7398375ae2c7f2d61a28a9b6620bf9c459e6085a2ec9832096ece56de2ce1f7e",
            "a954e214d1be988b0059d714c73c322bb45063a382b8039b6eca5790e245d1b0",
            "909954736e4d1c16c094feed36588f94cf009cbca2bf10005a596dc05b59ac6d",
            "7a7156eb6c8a7a2f2dbdb8cdae8d0656f01ca5597dad8dc4b7f5b1bd64508868",
            "e2cf73e41b9eff10003de292e14492ff3a029e3649d470fdeae7d147e1425297",
            "96ac9a8fbb70d1e20024901e412721b0e56f0c9b8e077d3fb27c6ed9fd54d5f8",
            "0737790716e402b0b63032ae7171a5caa117f13596289da97f1e32facd4a3a0a",
            "f7ee973632be1663d5405ef762e3aa4be8736fc08d9545e15c0961db7bd80199",
            "eb27a7a166eaa0063a131b7459ef4308fccb07e56d28c9ddae49370995fd8022",
            "9d3f9afd2d5f6f19c576089d784957eec0dd9b61a228c8b96cd4b1bf7f0295b2",
            "d0027d32d8b63d1f31f5439089b35f9d4f0dd85f68c5ce0ed85b9a0bd240638a",
            "20f7c31a71fa09d43ac9a2b510a02044f64f80faadeabecb6cde01b4c5796e66",
            "2f25fc4c3790a76246bbb96ad382dc9779117692ab1f19da78f46ca32d66f132",
            "47b2fbeecdf0e21ac3aff8e12e8d47088fa3e10cc44b43fb16ae63fb107e2e34",
            "45afc9848890ca60f964187b26b02b0b4cca4c8699d5abbd0d1ecf2c45739a65",
            "ca11df553239fe01e545fbc57124c5695932459ad4df84864703bf7f18c517ef",
            "e4a539c413200b3478d45546568dd9276fba1511987a4e9789e522b9de45b11f",
            "55b0adf6b7203e0c2abb4abf4fa93c3ca98272c4551705813a28cda073728e9c",
            "dfddad3031fc0ce5c72703567a58ddc1e65c415d6ec9501a4e234730cd84bbc0",
            "a5057a7e2bae12886ca5b7a835c4b6cba08db0478c7a446f762cea3e7cd0f25f",
            "526457c68c9cb033d3231ea228a5bac1a132ee799a5526c9c3226c53a2ec3764",
            "c77dda5e52eaac268627c243826172c82f1da5b376797267b74797d27e9d92bf",
            "1ad0bfa68d7e9a164509db68bac26504d60b4f5b66f31703e7b225385fdcdb7f",
            "9bb450b3aebbe0445f0b9a53ec51551a72075cfb557894c284bcd940f41752bd",
        ),
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        2_500,
        (
            "82d99da57ff8f13c04438ff6c35d74c1979c64114e1c635b4bab01c4a3a691aa",
            "ba7915b8f8804e81e99a74126ce53af7f7402de72281289e9b2eda40d91f12c1",
            "2348d40f315736717fe1eee741b829245cec464849c77065285ebc6b5c29df9d",
            "d649643026de1f1ab5cf0043df0812f4cfaba055e623b03b76f4532f446957bc",
        ),
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
