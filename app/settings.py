"""All settings, read from the environment in this one place: `SECONDLOOK_` and the name in capitals.

A part of a setting follows two underscores: `SECONDLOOK_QUOTA__STORAGE_BYTES`, `SECONDLOOK_INDEX__EMBEDDER`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from agents.captions import CaptionConfig
from agents.core.budget import Budget
from app.access.caller import GIB, Quota
from tools.video.limits import VideoLimits

_GIB = 1024**3
_DAY = 24 * 3600.0


class IndexSettings(BaseModel):
    """How videos are captioned and indexed, and the limits of both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str = Field("hashed:", description="What embeds captions: hashed:, openai:…?model=…, sentences:…")
    embedder_key: SecretStr | None = Field(None, description="API key that the embedder asks for.")
    clip_seconds: float = Field(10.0, gt=0, le=600, description="Length of the shortest clips, in seconds.")
    fps: float = Field(1.0, gt=0, le=30, description="Frames a second that such a clip is captioned from.")
    clip_frames: int = Field(16, ge=1, description="Most frames that a clip is captioned from.")
    clip_tokens: int = Field(128, ge=8, description="Longest caption.")
    at_once: int = Field(4, ge=1, description="Clips of a video captioned at once.")
    kept: int = Field(4096, ge=0, description="Captions cached that single questions asked for.")
    days: float = Field(30.0, gt=0, description="Days after which an unused index is deleted.")
    memory_bytes: int = Field(_GIB, ge=1, description="Memory for open indexes, estimated.")

    max_builds: int = Field(1, ge=1, description="Videos indexed at once.")
    max_waiting: int = Field(16, ge=0, description="Videos that may wait for that; the next one gets 429.")
    max_lines: int = Field(200_000, ge=1, description="Captions and subtitles of one video.")
    max_clips: int = Field(10_000, ge=1, description="Clips of one video that are captioned.")
    max_bytes: int = Field(4 * _GIB, ge=1, description="Indexes of one tenant; with so much, none is begun.")
    max_hits: int = Field(100, ge=1, description="Most hits of one search.")
    max_frames: int = Field(100_000, ge=1, description="Frames shown to the model for one whole index.")
    max_tokens: int = Field(50_000_000, ge=1, description="Tokens read and written for one whole index.")
    max_calls: int = Field(20_000, ge=1, description="Calls to the model for one whole index.")
    max_seconds: float = Field(_DAY, gt=0, description="Seconds that one whole index may take.")

    @property
    def captioning(self) -> CaptionConfig:
        """How clips are captioned."""
        return CaptionConfig(self.clip_seconds, self.fps, self.clip_frames, self.clip_tokens, self.at_once, self.kept)

    @property
    def budget(self) -> Budget:
        """The most that building an index may spend."""
        return Budget(frames=self.max_frames, tokens=self.max_tokens, calls=self.max_calls, seconds=self.max_seconds)


class Settings(BaseSettings):
    """Where to listen, which model to run, and every limit. The defaults suit one small machine."""

    model_config = SettingsConfigDict(
        env_prefix="SECONDLOOK_", env_nested_delimiter="__", nested_model_default_partial_update=True, frozen=True
    )

    engine: str = Field("demo:", description="The model, as URL: demo:, openai:…, vllm:…, transformers:…, scripted:")
    engine_key: SecretStr | None = Field(None, description="API key that the engine asks for.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_key: SecretStr | None = Field(
        None, min_length=20, description="An API key for clients, chosen by you: at least 20 characters."
    )
    key_seconds: float = Field(
        1.0, ge=0, description="Seconds that a key is cached; a revoked key may work for so long."
    )
    open_metrics: bool = Field(False, description="Whether /metrics needs no key.")
    log_format: Literal["text", "json"] = Field("text", description="Log as text lines or as JSON objects.")
    otel: bool = Field(False, description="Whether to send OpenTelemetry spans, as the variables OTEL_… say.")
    quota: Quota = Field(Quota(), description="Quota of keys that were made without one of their own.")
    data_dir: Path = Field(
        Path("data"), description="Folder for files, records and indexes; relative to where the service is started."
    )
    records: str | None = Field(None, description="SQLAlchemy URL of the database; empty: SQLite in the data folder.")
    blobs: str | None = Field(None, description="fsspec URL for files; empty: the data folder.")
    video_dir: Path | None = Field(None, description='Directory that {"path": …} may read.')
    decoder: Literal["pyav", "decord"] = Field("pyav", description="Library that decodes videos.")
    sandbox: Literal["on", "off", "required"] = Field(
        "on", description="Decode in confined processes; required: refuse to start if they cannot be fully confined."
    )
    decode_workers: int = Field(2, ge=1, description="Decoding processes at once.")
    decode_bytes: int = Field(3 * GIB // 2, ge=1, description="Memory that one of them may use.")
    reader: str | None = Field(
        None, description="Text reader of the tool `ocr`, module:function; empty: RapidOCR if installed."
    )
    detector: str | None = Field(
        None, description="Object detector of the tool `detect`, module:function; empty: none."
    )
    strategy: str = Field("auto", description="Strategy of requests that name none.")
    open_strategy: str = Field("direct", description="Strategy of open questions that name none.")
    answer_tokens: int = Field(512, ge=1, description="Longest open answer of a request that sets no max_tokens.")
    instance: str = Field("secondlook", description="Name of this process; unique among those that share records.")

    index: IndexSettings = Field(IndexSettings(), description="How videos are indexed, and how much of it.")

    max_runs: int = Field(4, ge=1, description="Runs at once.")
    max_waiting: int = Field(64, ge=0, description="Runs that may wait; the next one gets 429.")
    max_wait_seconds: float = Field(60.0, ge=0, description="Longest wait of a run for its turn.")
    max_body_bytes: int = Field(1024**2, ge=1, description="Largest JSON request without media.")
    max_question_bytes: int = Field(64 * 1024**2, ge=1, description="Largest question with the media in it.")
    max_pictures: int = Field(256, ge=1, description="Most pictures given one by one.")
    max_choices: int = Field(16, ge=1, description="Largest `n` of a chat completion.")
    max_schema_bytes: int = Field(64 * 1024, ge=1, description="Largest JSON schema for an answer.")
    max_upload_bytes: int = Field(2 * GIB, ge=1, description="Largest video that can be uploaded.")
    blob_cache_bytes: int = Field(20 * GIB, ge=0, description="Local copies of files that lie in a bucket.")
    fetch: bool = Field(True, description="Whether videos are fetched from URLs.")
    fetch_domains: tuple[str, ...] = Field(
        (), description='Hosts to fetch from, as JSON: ["*.example.org"]; empty: all public hosts.'
    )
    fetch_ports: tuple[int, ...] = Field((80, 443), description="Ports to fetch from, as JSON.")
    fetch_private: tuple[str, ...] = Field((), description="host:port pairs, as JSON, that may be private addresses.")
    fetch_redirects: int = Field(3, ge=0, le=3, description="Redirects that are followed.")
    fetch_seconds: float = Field(120.0, gt=0, description="Longest time that fetching a video may take.")
    fetch_idle_seconds: float = Field(10.0, gt=0, description="Silence after which fetching a video is given up.")
    fetch_fresh_seconds: float = Field(
        60.0, ge=0, description="Age up to which a copy is used without asking its server again."
    )
    fetch_kept_seconds: float = Field(3600.0, ge=0, description="Seconds that an unused copy is kept.")
    fetch_cache_bytes: int = Field(4 * GIB, ge=0, description="Fetched videos kept on the disk.")
    max_fetches: int = Field(16, ge=1, description="Videos that are fetched at once.")
    max_data_bytes: int = Field(48 * 1024**2, ge=1, description="Largest video in a data: URL.")
    min_free_bytes: int = Field(GIB // 4, ge=0, description="Room left on the disk; uploads end before it is used.")
    idle_seconds: float = Field(60.0, gt=0, description="Silence after which an upload is given up.")
    sweep_seconds: float = Field(60.0, gt=0, description="Interval of clean-up.")
    known_videos: int = Field(32, ge=0, description="Videos whose properties are cached.")
    cache_bytes: int = Field(GIB // 2, ge=0, description="Cache of decoded frames in memory.")
    ping_seconds: float = Field(
        10.0, gt=0, description="Silence after which a stream sends a comment to keep its connection open."
    )
    retry_seconds: float = Field(5.0, gt=0, description="Pause before a model server that is down is tried again.")
    retry_grace_seconds: float = Field(
        10.0, ge=0, description="Seconds that a run goes on after its client timed out, in case it retries."
    )
    run_days: float = Field(30.0, ge=0, description="How long finished runs are kept.")
    kept_bytes: int = Field(1024**2, ge=0, description="Largest request, compressed, that is kept to run it again.")
    persist_seconds: float = Field(0.2, ge=0, description="Delay until the events of a run are stored.")
    drain_seconds: float = Field(10.0, ge=0, description="Seconds that running answers get after a stop signal.")
    notice_seconds: float = Field(
        0.0, ge=0, description="Seconds to keep listening while idle after a stop signal, for load balancers."
    )

    max_frames: int = Field(4096, ge=1, description="Upper bound of a request's budget: frames shown to the model.")
    max_tokens: int = Field(2_000_000, ge=1, description="Upper bound of a request's budget: tokens.")
    max_calls: int = Field(256, ge=1, description="Upper bound of a request's budget: calls to the model.")
    max_seconds: float = Field(600.0, gt=0, description="Upper bound of a request's budget: seconds.")

    max_video_bytes: int = Field(4 * GIB, ge=1, description="Largest video file that is opened.")
    max_video_seconds: float = Field(6 * 3600.0, gt=0, description="Longest video.")
    max_video_pixels: int = Field(8192 * 4320, ge=1, description="Largest frame, width times height.")
    max_video_frames: int = Field(2_000_000, ge=1, description="Most frames of a video.")
    max_video_work: int = Field(200_000_000_000, ge=1, description="Pixels decoded for one request of frames.")
    max_look_seconds: float = Field(60.0, gt=0, description="Seconds for decoding one request of frames.")
    max_open_seconds: float = Field(10.0, gt=0, description="Seconds for opening a video, plus one for every 20 MB.")

    @property
    def records_url(self) -> str:
        """Where the records are."""
        return self.records or f"sqlite:///{self.data_dir.absolute() / 'records.sqlite'}"

    @property
    def budget(self) -> Budget:
        """The most that any request may spend."""
        return Budget(frames=self.max_frames, tokens=self.max_tokens, calls=self.max_calls, seconds=self.max_seconds)

    @property
    def limits(self) -> VideoLimits:
        """Upper bounds of what one video may cost."""
        return VideoLimits(
            max_bytes=self.max_video_bytes,
            max_seconds=self.max_video_seconds,
            max_pixels=self.max_video_pixels,
            max_frames=self.max_video_frames,
            max_decoded_pixels=self.max_video_work,
            max_decode_seconds=self.max_look_seconds,
        )
