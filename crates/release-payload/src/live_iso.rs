//! Taking the live ISO out of its layer, and finding out which SHA-256 it must have.
//!
//! Layers are searched from the largest on, and the first ISO is taken that is not known to be another than it must be.
//! What says its SHA-256, the first that there is:
//!
//! 1. the `*-stream.json` in the same layer (the truth), else the release's announcement if the ISO is what that says:
//!    nothing more is fetched;
//! 2. a `*-stream.json` in another layer, all of which are then walked;
//! 3. the announcement all the same, which the ISO then fails;
//! 4. with no stream metadata anywhere, the `.sha256` beside it. That is no statement about a release but about a
//!    file of the image, so it counts only if ISO and `.sha256` are what the whole image has of these names, with no
//!    layer above hiding them. The build is then the one in the ISO's volume identifier.
//!
//! Where none of them exists there is no ISO. An image that the payload does not pin by digest has nothing to say:
//! for it the announcement alone counts.

mod copy;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use coreos_names::Arch;
use oci_registry::{BlobReader, Descriptor, Registry};

use self::copy::{Copied, copy_iso, hash};
use crate::error::Error;
use crate::layer::{self, Kind};
use crate::locate::{LiveIso, Pinned};
use crate::os_stream::OsStream;
use crate::payload::Payload;
use crate::stream_metadata::BootImage;
use crate::survey::{Fate, LayerSurvey, Names, topmost};

/// Where the bytes of an ISO go.
pub trait IsoSink: Write + Send + 'static {
    /// Is called before the first byte, with the ISO's size in bytes, and once more wherever the ISO has to come from
    /// another place: what was written before is then void.
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

/// An ISO that was copied, and which layer it came from.
struct Found {
    stream: OsStream,
    layer: usize,
    iso: Copied,
}

impl LiveIso {
    /// Streams the ISO into `sink`.
    ///
    /// Where stream metadata says its SHA-256, only the layer that holds it is fetched. It goes through inflate and tar
    /// into the sink piece by piece, and is read to its end, so that its own digest is judged too. Where a layer is not to
    /// be had, the next place is asked for the whole image.
    pub async fn extract<S: IsoSink>(
        &mut self,
        registry: &Registry,
        sink: S,
    ) -> Result<ExtractedIso<S>, Error> {
        let mut sink = Some(sink);
        loop {
            let error = match self.search_layers(registry, &mut sink).await {
                Ok(stated) => {
                    let sink = sink.expect("what goes into a walk comes out of it");
                    return Ok(ExtractedIso { sink, stated });
                }
                Err(error) => error,
            };
            let image = self.found.image.clone();
            let error = match self.found.pinned {
                Pinned::Iso if error.is_content() => {
                    Error::OtherImage { image: image.clone(), source: Box::new(error) }
                }
                _ => error,
            };
            self.search.reject(image.clone(), error)?;
            self.found = self.search.next(registry).await?;
            tracing::warn!(
                release.version = %self.payload().version(), arch = %self.arch(), %image, next = %self.found.image,
                "a place has the manifest of the image that carries the live ISO, and does not give its layers; another \
                 place is asked"
            );
        }
    }

    async fn search_layers<S: IsoSink>(
        &mut self,
        registry: &Registry,
        sink: &mut Option<S>,
    ) -> Result<BootImage, Error> {
        let mut image = ImageSurvey(vec![None; self.found.manifest.layers.len()]);
        let layers: Vec<_> = self.layers().into_iter().map(|(index, layer)| (index, layer.clone())).collect();
        for stream in self.payload().os_streams() {
            self.os_stream = Some(stream);
            let mut disproven = None;
            for (index, layer) in &layers {
                // What was seen with other eyes is fetched again only if it has what is wanted now.
                if image.0[*index]
                    .as_ref()
                    .is_some_and(|survey| survey.of(stream).iso != Some(Fate::Written(())))
                {
                    continue;
                }
                let (survey, iso) = self.walk(registry, layer, Some(stream), sink).await?;
                image.0[*index] = Some(survey);
                if let Some(iso) = iso {
                    let found = Found { stream, layer: *index, iso };
                    let stated = self.stated(registry, &found, &mut image).await?;
                    if found.iso.sha256.is_none_or(|actual| actual == stated.sha256) {
                        return Ok(stated);
                    }
                    // Another layer may have the right one.
                    disproven.get_or_insert(stated);
                }
            }
            // Whoever has its bytes finds out.
            if let Some(stated) = disproven {
                return Ok(stated);
            }
        }
        self.os_stream = None;
        Err(self.not_found(&image))
    }

    fn payload(&self) -> &Payload {
        self.search.payload()
    }

    fn arch(&self) -> Arch {
        self.search.arch()
    }

    /// The size of the ISO in bytes, as the header in front of it says. Only the beginning of the layer is read, so
    /// this is not verified, unlike everything else here.
    pub async fn stated_size(&mut self, registry: &Registry) -> Result<u64, Error> {
        let size = Arc::new(OnceLock::new());
        let extracted = self.extract(registry, SizeOnly(Arc::clone(&size))).await;
        match (size.get(), extracted) {
            (Some(size), _) => Ok(*size),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => unreachable!("a sink is told the size before anything is extracted"),
        }
    }

    fn not_found(&self, image: &ImageSurvey) -> Error {
        let streams = self.payload().os_streams();
        for &stream in &streams {
            let mut surveys = image.surveys_downwards(stream);
            if let Some(what) = surveys.find_map(|(_, survey)| survey.not_a_file.clone()) {
                let name = self.names(stream).iso;
                return Error::NotAFile { image: self.found.image.clone(), name, what };
            }
        }
        let names = streams.into_iter().map(|stream| self.names(stream).iso).collect();
        Error::IsoNotFound { image: self.found.image.clone(), os_stream: self.payload().os_stream(), names }
    }

    fn names(&self, stream: OsStream) -> Names {
        Names::new(stream, self.arch())
    }

    /// Finds out which SHA-256 the ISO must have.
    async fn stated(
        &self,
        registry: &Registry,
        found: &Found,
        image: &mut ImageSurvey,
    ) -> Result<BootImage, Error> {
        let stated = match self.found.pinned {
            Pinned::Image => self.stated_by_image(registry, found, image).await?,
            Pinned::Iso => self.forecast_of(found.stream).cloned().ok_or_else(|| self.no_digest())?,
        };
        // The last of several members of one name is the one that counts, and the first was copied.
        if found.iso.another.is_some_and(|another| another != stated.sha256) {
            let (image, name) = (self.found.image.clone(), self.names(found.stream).iso);
            return Err(Error::Ambiguous {
                image,
                layer: self.found.manifest.layers[found.layer].digest,
                name,
            });
        }
        Ok(stated)
    }

    async fn stated_by_image(
        &self,
        registry: &Registry,
        found: &Found,
        image: &mut ImageSurvey,
    ) -> Result<BootImage, Error> {
        let Found { stream, layer, iso } = found;
        let forecast = self.forecast_of(*stream);
        if let Some(beside) = image.boot_image(*layer, *stream) {
            self.warn_if_unexpected(beside, forecast);
            return Ok(beside.clone());
        }
        if let Some(forecast) = forecast
            && iso.sha256 == Some(forecast.sha256)
        {
            return Ok(forecast.clone());
        }
        for (index, layer) in self.found.manifest.layers.iter().enumerate().rev() {
            if image.0[index].is_none() {
                let (survey, _) = self.walk(registry, layer, None, &mut None::<SizeOnly>).await?;
                image.0[index] = Some(survey);
            }
        }
        let elsewhere: Vec<_> =
            (0..image.0.len()).rev().filter_map(|layer| image.boot_image(layer, *stream)).collect();
        let right = elsewhere.iter().find(|image| iso.sha256 == Some(image.sha256));
        if let Some(stated) = right.or(elsewhere.first()) {
            self.warn_if_unexpected(stated, forecast);
            return Ok((*stated).clone());
        }
        match forecast {
            Some(forecast) => Ok(forecast.clone()),
            None => self.stated_by_sidecar(found, image),
        }
    }

    fn stated_by_sidecar(&self, found: &Found, image: &ImageSurvey) -> Result<BootImage, Error> {
        let digest_of = |layer: usize| self.found.manifest.layers[layer].digest;
        let of_iso =
            topmost(image.surveys_downwards(found.stream).map(|(layer, survey)| (layer, survey.iso)));
        let of_sidecar =
            topmost(image.surveys_downwards(found.stream).map(|(layer, survey)| (layer, survey.sidecar)));
        if let Some((upper, _)) = of_iso
            && of_iso != Some((found.layer, Fate::Written(())))
        {
            let (image, name) = (self.found.image.clone(), self.names(found.stream).iso);
            return Err(Error::Shadowed {
                image,
                layer: digest_of(found.layer),
                upper: digest_of(upper),
                name,
            });
        }
        let Some((_, Fate::Written(Some(sha256)))) = of_sidecar else { return Err(self.no_digest()) };
        let os_build = found.iso.os_build.clone().ok_or_else(|| {
            let (image, name) = (self.found.image.clone(), self.names(found.stream).iso);
            Error::NoBuild { image, name }
        })?;
        tracing::warn!(
            release.version = %self.payload().version(), arch = %self.arch(), %os_build,
            "no stream metadata says what the live ISO is; the checksum beside it is used"
        );
        Ok(BootImage { os_build, sha256 })
    }

    fn forecast_of(&self, stream: OsStream) -> Option<&BootImage> {
        self.payload().boot_image_of(stream, self.arch())
    }

    fn no_digest(&self) -> Error {
        Error::NoDigest {
            version: self.payload().version().clone(),
            image: self.found.image.clone(),
            arch: self.arch(),
        }
    }

    fn warn_if_unexpected(&self, actual: &BootImage, forecast: Option<&BootImage>) {
        if let Some(forecast) = forecast.filter(|forecast| *forecast != actual) {
            tracing::warn!(
                release.version = %self.payload().version(), arch = %self.arch(),
                forecast = %forecast.os_build, actual = %actual.os_build,
                "the release announces another live ISO than its component carries; the component's is used"
            );
        }
    }

    /// Walks one layer to its end, and copies the ISO of a stream out of it, if one is wanted and there.
    async fn walk<S: IsoSink>(
        &self,
        registry: &Registry,
        layer: &Descriptor,
        wanted: Option<OsStream>,
        sink: &mut Option<S>,
    ) -> Result<(LayerSurvey, Option<Copied>), Error> {
        let component = |source| Error::Component { image: self.found.image.clone(), source };
        let (arch, digest) = (self.arch(), layer.digest);
        let blob = registry.blob(&self.found.image, layer).await.map_err(component)?;
        let mut lent = sink.take();
        let (walked, returned) = blob
            .read_with(move |blob| {
                let mut walk = Walk::new(arch);
                let copy = wanted.zip(lent.as_mut().map(|sink| sink as &mut dyn IsoSink));
                let walked = walk.run(blob, copy).map(|()| (walk.survey, walk.copied));
                (walked, lent)
            })
            .await;
        *sink = returned;
        let (survey, copied) = walked.map_err(|failure| match failure {
            Failure::Sink(source) => Error::Sink(source),
            Failure::Ambiguous(name) => {
                Error::Ambiguous { image: self.found.image.clone(), layer: digest, name }
            }
            Failure::Layer(source) => match source.downcast::<oci_registry::Error>() {
                Ok(source) => component(source),
                Err(source) => Error::Layer { image: self.found.image.clone(), layer: digest, source },
            },
        })?;
        Ok((survey, copied))
    }
}

/// What is known of the layers, the lowest first.
struct ImageSurvey(Vec<Option<LayerSurvey>>);

impl ImageSurvey {
    fn boot_image(&self, layer: usize, stream: OsStream) -> Option<&BootImage> {
        self.0[layer].as_ref()?.of(stream).boot_image.as_ref()
    }

    fn surveys_downwards(
        &self,
        stream: OsStream,
    ) -> impl Iterator<Item = (usize, &crate::survey::StreamSurvey)> {
        let known = self.0.iter().enumerate().rev();
        known.filter_map(move |(layer, survey)| Some((layer, survey.as_ref()?.of(stream))))
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

/// One walk through a layer.
struct Walk {
    arch: Arch,
    /// How many bytes the layer may unpack to.
    limit: u64,
    survey: LayerSurvey,
    copied: Option<Copied>,
}

enum Failure {
    Layer(io::Error),
    Sink(io::Error),
    /// The layer has the ISO of this name several times.
    Ambiguous(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Layer(error)
    }
}

impl Walk {
    fn new(arch: Arch) -> Self {
        Self { arch, limit: layer::MAX_INFLATED, survey: LayerSurvey::default(), copied: None }
    }

    fn run(
        &mut self,
        mut blob: BlobReader,
        wanted: Option<(OsStream, &mut dyn IsoSink)>,
    ) -> Result<(), Failure> {
        match self.members(&mut blob, wanted) {
            Ok(()) => Ok(blob.finish()?),
            // A layer with a wrong byte may fail to unpack before its end: the wrong digest is then the better answer.
            Err(Failure::Layer(error)) => {
                Err(Failure::Layer(blob.finish().err().filter(is_verdict).unwrap_or(error)))
            }
            // The rest of the layer is of no use to a sink that takes nothing.
            Err(failure) => Err(failure),
        }
    }

    fn members(
        &mut self,
        layer: impl io::Read,
        mut wanted: Option<(OsStream, &mut dyn IsoSink)>,
    ) -> Result<(), Failure> {
        layer::for_each_member(layer, self.limit, |member, contents| {
            self.survey.note(member, contents, self.arch)?;
            let Some((stream, sink)) = &mut wanted else { return Ok(ControlFlow::Continue(())) };
            if member.kind == Kind::File && member.name == Names::new(*stream, self.arch).iso {
                if let Some(copied) = &mut self.copied {
                    let another = hash(contents)?;
                    if copied.another.replace(another).is_some_and(|before| before != another) {
                        return Err(Failure::Ambiguous(member.name.clone()));
                    }
                } else {
                    if member.size > self.limit {
                        let text = format!("{} claims to have {} bytes", member.name, member.size);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, text).into());
                    }
                    // Only what nothing else states so far may have to be compared later.
                    let hashing = self.survey.of(*stream).boot_image.is_none();
                    sink.begin(member.size).map_err(Failure::Sink)?;
                    self.copied = Some(copy_iso(contents, *sink, hashing)?);
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Whether the registry client itself has something to say, and not only that it has said it before.
fn is_verdict(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<oci_registry::Error>)
}

/// Walks a layer for the ISO of each generation, for fuzzing.
pub(crate) fn walk_unverified(layer: &[u8], limit: u64) {
    for stream in OsStream::ALL {
        let mut walk = Walk { limit, ..Walk::new(Arch::X86_64) };
        let _ = walk.members(layer, Some((stream, &mut Nowhere)));
    }
}

/// Takes everything.
struct Nowhere;

impl IsoSink for Nowhere {
    fn begin(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
