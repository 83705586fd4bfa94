# Builds the server from source. The result holds one static binary, certificates of authorities,
# and busybox for the health check.
#
#	docker build -t parley .
#	docker run -p 8080:8080 -v parley:/data parley

FROM --platform=$BUILDPLATFORM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags='-s -w' -o /parley ./cmd/parley
# A new volume gets the owner and the mode of this directory.
RUN mkdir -m 0700 /data

FROM alpine:3
RUN apk add --no-cache ca-certificates
COPY --from=build /parley /usr/local/bin/parley
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
VOLUME /data
# All addresses of the container: who may reach them is decided outside.
ENV PARLEY_ADDR=:8080 PARLEY_DATA=/data PARLEY_LOG_FORMAT=json
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["parley"]
