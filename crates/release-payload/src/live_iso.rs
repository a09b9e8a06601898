//! Taking the live ISO out of its layer.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

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
        let [preferred, other] = self.os_streams();
        let mut holds_other = None;
        for layer in self.layers() {
            let (found, returned) = self.search(registry, layer, preferred, other, sink).await?;
            sink = returned;
            match found {
                Found::Iso { stream_metadata } => {
                    return Ok(ExtractedIso { stated: self.stated(stream_metadata.as_ref())?, sink });
                }
                Found::OtherStream => holds_other = Some(layer),
                Found::Nothing => {}
            }
        }
        if let Some(layer) = holds_other
            && let (Found::Iso { stream_metadata }, sink) =
                self.search(registry, layer, other, preferred, sink).await?
        {
            return Ok(ExtractedIso { stated: self.stated(stream_metadata.as_ref())?, sink });
        }
        let names = [preferred, other].map(|stream| self.iso_name(stream));
        Err(Error::IsoNotFound { image: self.image.clone(), names: names.to_vec() })
    }

    /// The size of the ISO in bytes, as the header in front of it says. Only the beginning of the layer is read, so
    /// this is not verified, unlike everything else here.
    pub async fn stated_size(&self, registry: &Registry) -> Result<u64, Error> {
        let size = Arc::new(OnceLock::new());
        let extracted = self.extract(registry, SizeOnly(Arc::clone(&size))).await;
        match (size.get(), extracted) {
            (Some(size), _) => Ok(*size),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => unreachable!("a sink is told the size before anything is extracted"),
        }
    }

    fn iso_name(&self, stream: &str) -> String {
        format!("coreos/{stream}-{}.iso", self.arch.rpm_name())
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

    /// Copies the ISO of a stream out of one layer, if it is there, and notices that of the other stream.
    async fn search<S: IsoSink>(
        &self,
        registry: &Registry,
        layer: &Descriptor,
        stream: &str,
        other: &str,
        mut sink: S,
    ) -> Result<(Found, S), Error> {
        let component = |source| Error::Component { image: self.image.clone(), source };
        let member = Member {
            iso: self.iso_name(stream),
            stream_metadata: format!("coreos/{stream}-stream.json"),
            other_iso: self.iso_name(other),
        };
        let blob = registry.blob(&self.image, layer).await.map_err(component)?;
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

/// Takes nothing but the size.
struct SizeOnly(Arc<OnceLock<u64>>);

impl IsoSink for SizeOnly {
    fn begin(&mut self, size: u64) -> io::Result<()> {
        let _ = self.0.set(size);
        Err(io::Error::other("only the size is wanted"))
    }
}

impl Write for SizeOnly {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The files that are looked for in a layer.
struct Member {
    iso: String,
    stream_metadata: String,
    other_iso: String,
}

/// What a layer holds.
enum Found {
    /// The ISO, which went into the sink, and perhaps what lies beside it.
    Iso {
        stream_metadata: Option<StreamMetadata>,
    },
    /// The ISO of the other stream only.
    OtherStream,
    Nothing,
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
    /// Walks the whole layer.
    fn copy(&self, mut blob: BlobReader, sink: &mut dyn IsoSink) -> Result<Found, Failure> {
        let (mut found, mut found_other, mut stream_metadata) = (false, false, None);
        let walked = layer::for_each_file(&mut blob, |name, size, content| {
            if name == self.iso && !found {
                found = true;
                sink.begin(size).map_err(Failure::Sink)?;
                copy(content, sink)?;
            } else if name == self.other_iso {
                found_other = true;
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
        Ok(match (found, found_other) {
            (true, _) => Found::Iso { stream_metadata },
            (false, true) => Found::OtherStream,
            (false, false) => Found::Nothing,
        })
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
