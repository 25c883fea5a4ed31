# What starts the enclave in a Kubernetes pod: nitro-cli, nitro.sh and one enclave
# image. The image file is part of the container image, so that a roll-out of this
# container is a roll-out of these PCRs. Nothing here is trusted: the enclave
# measures itself.
#
#   docker build -f examples/chatbot/deploy/docker/launcher.Dockerfile -t nitroseal-launcher:dev \
#       --build-context eif=build examples/chatbot/deploy
#
# where build/ is what "nitro.sh build" wrote.

FROM amazonlinux:2023
RUN dnf install -y aws-nitro-enclaves-cli && dnf clean all
COPY nitro.sh /opt/nitroseal/nitro.sh
COPY --from=eif chatbot.eif /opt/nitroseal/chatbot.eif
ENV EIF=/opt/nitroseal/chatbot.eif
# nitro-cli opens /dev/nitro_enclaves, which belongs to root, as the device plugin
# passes it in. The pod takes all capabilities away.
USER 0:0
ENTRYPOINT ["/opt/nitroseal/nitro.sh", "supervise"]
