//! Taking the live ISO out of its layer.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use oci_registry::{BlobReader, Descriptor, Registry};

use crate::error::Error;
use crate::layer;
use crate::locate::LiveIso;
use crate::stream_metadata::{BootImage, StreamMetadata};

/// Stream metadata of four architectures has some 100 KiB.
const MAX_STREAM_METADATA: u64 = 4 << 20;

/// Where the bytes of an ISO go.
pub trait IsoSink: Write + Send + 'static {
    /// Is called once, before the first byte, with the ISO's size in bytes.
    fn begin(&mut self, size: u64) -> io::Result<()>;
}

/// An ISO that was written to a sink whole.
#[derive(Debug)]
pub struct ExtractedIso<S> {
    /// The sink, with all bytes of the ISO.
    pub sink: S,
    /// What the release states of the ISO. The bytes in the sink are proven only once their SHA-256 is found to be this one.
    pub stated: BootImage,
}

impl LiveIso {
    /// Streams the ISO into `sink`.
    ///
    /// Only the layer that holds it is fetched. It goes through inflate and tar into the sink piece by piece, and is
    /// read to its end, so that its own digest is judged too.
    pub async fn extract<S: IsoSink>(
        &self,
        registry: &Registry,
        mut sink: S,
    ) -> Result<ExtractedIso<S>, Error> {
        let mut names = Vec::new();
        for stream in self.os_streams() {
            let member = Member {
                iso: format!("coreos/{stream}-{}.iso", self.arch.rpm_name()),
                stream_metadata: format!("coreos/{stream}-stream.json"),
            };
            for layer in self.layers() {
                let (found, returned) = self.search(registry, layer, &member, sink).await?;
                sink = returned;
                if let Some(found) = found {
                    return Ok(ExtractedIso { stated: self.stated(found.stream_metadata.as_ref())?, sink });
                }
            }
            names.push(member.iso);
        }
        Err(Error::IsoNotFound { image: self.image.clone(), names })
    }

    /// The metadata inside the component is the truth about the ISO beside it; the release's own is a forecast.
    fn stated(&self, component: Option<&StreamMetadata>) -> Result<BootImage, Error> {
        let actual = component.and_then(|metadata| metadata.boot_image(self.arch));
        if let (Some(actual), Some(forecast)) = (actual, self.forecast())
            && actual != forecast
        {
            tracing::warn!(
                release.version = %self.payload.version(), arch = %self.arch,
                forecast = %forecast.os_build, actual = %actual.os_build,
                "the release announces another live ISO than its component carries; the component's is used"
            );
        }
        actual.or_else(|| self.forecast()).cloned().ok_or_else(|| Error::NoDigest {
            version: self.payload.version().clone(),
            image: self.image.clone(),
            arch: self.arch,
        })
    }

    /// Copies the ISO out of one layer. `None` if it is not in this one.
    async fn search<S: IsoSink>(
        &self,
        registry: &Registry,
        layer: &Descriptor,
        member: &Member,
        mut sink: S,
    ) -> Result<(Option<Found>, S), Error> {
        let component = |source| Error::Component { image: self.image.clone(), source };
        let blob = registry.blob(&self.image, layer).await.map_err(component)?;
        let member = member.clone();
        let (found, sink) = blob.read_with(move |blob| (member.copy(blob, &mut sink), sink)).await;
        let found = found.map_err(|failure| match failure {
            Failure::Sink(source) => Error::Sink(source),
            Failure::Layer(source) => match source.downcast::<oci_registry::Error>() {
                Ok(source) => component(source),
                Err(source) => Error::Layer { image: self.image.clone(), layer: layer.digest, source },
            },
        })?;
        Ok((found, sink))
    }
}

/// The files of one OS stream in a layer.
#[derive(Clone)]
struct Member {
    iso: String,
    stream_metadata: String,
}

/// The ISO was in the layer and went into the sink.
struct Found {
    /// What lay beside it.
    stream_metadata: Option<StreamMetadata>,
}

enum Failure {
    Layer(io::Error),
    Sink(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Layer(error)
    }
}

impl Member {
    /// Walks the whole layer. `None` if the ISO is not in it.
    fn copy(&self, mut blob: BlobReader, sink: &mut dyn IsoSink) -> Result<Option<Found>, Failure> {
        let (mut found, mut stream_metadata) = (false, None);
        let walked = layer::for_each_file(&mut blob, |name, size, content| {
            if name == self.iso && !found {
                found = true;
                sink.begin(size).map_err(Failure::Sink)?;
                copy(content, sink)?;
            } else if name == self.stream_metadata && size <= MAX_STREAM_METADATA {
                let mut json = Vec::new();
                content.read_to_end(&mut json)?;
                stream_metadata = StreamMetadata::parse(&json).map_err(io::Error::other).map(Some)?;
            }
            Ok(ControlFlow::Continue(()))
        });
        match walked {
            // The rest of the layer is of no use to a sink that takes nothing.
            Err(Failure::Sink(error)) => return Err(Failure::Sink(error)),
            // A layer with a wrong byte may fail to unpack before its end: the wrong digest is then the better answer.
            Err(Failure::Layer(error)) => {
                return Err(Failure::Layer(blob.finish().err().filter(is_verdict).unwrap_or(error)));
            }
            Ok(()) => blob.finish()?,
        }
        Ok(found.then_some(Found { stream_metadata }))
    }
}

/// Whether the registry client itself has something to say, and not only that it has said it before.
fn is_verdict(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<oci_registry::Error>)
}

/// Like [`io::copy`], but knows which side failed.
fn copy(from: &mut dyn Read, to: &mut dyn IsoSink) -> Result<(), Failure> {
    const CHUNK: usize = 256 * 1024;
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count]).map_err(Failure::Sink)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Layer(error)),
        }
    }
}
