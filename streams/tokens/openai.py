"""OpenAI: chat, responses, embeddings, transcriptions, images, realtime. Input includes what was read from and written to the
cache, output includes reasoning (domain.md §1.1, §1.4). Azure OpenAI sends the same blocks.
"""

from decimal import Decimal
from typing import Literal

from streams.tokens.buckets import Block, Dialect, Ignored, Inconsistent, Notes, agree, counted, milliseconds


class CacheWrites(Block):
    """Cache writes by time to live."""

    ttl_30m_tokens: int | None = None
    ttl_12h_tokens: int | None = None


class CachedModalities(Block):
    """Cached tokens by modality; only realtime tells them apart."""

    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class InputDetails(Block):
    """Parts of the input."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: CacheWrites | None = None
    cached_tokens_details: CachedModalities | None = None
    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    video_tokens: int | None = None


class OutputDetails(Block):
    """Parts of the output; rejected predictions are billed as output like accepted ones."""

    reasoning_tokens: int | None = None
    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    accepted_prediction_tokens: Ignored = None
    rejected_prediction_tokens: Ignored = None


NO_INPUT, NO_OUTPUT, NO_WRITES = InputDetails(), OutputDetails(), CacheWrites()
BUCKETS = (
    "input_cache_read", "input_cache_read_audio", "input_cache_read_image", "input_cache_write_30m", "input_cache_write_12h",
    "input_uncached", "input_uncached_audio", "input_uncached_image", "input_uncached_video", "output_reasoning",
    "output_visible", "output_visible_audio", "output_visible_image",
)  # fmt: skip


def inclusive(
    whole_in: int, details: InputDetails | None, whole_out: int, done: OutputDetails | None, notes: Notes
) -> tuple[int, ...]:
    """Of BUCKETS: input includes the cache, output includes reasoning; parts above their whole leave a negative rest."""
    if details is None and done is None:
        return 0, 0, 0, 0, 0, whole_in, 0, 0, 0, 0, whole_out, 0, 0
    asked, made = details or NO_INPUT, done or NO_OUTPUT
    read, audio, image, video = (
        asked.cached_tokens or 0,
        asked.audio_tokens or 0,
        asked.image_tokens or 0,
        asked.video_tokens or 0,
    )
    split = asked.cache_write_tokens_details
    written = asked.cache_write_tokens or 0
    long = (split.ttl_12h_tokens or 0) if split else 0
    short = (split.ttl_30m_tokens or 0) if split else written
    if split:
        agree("cache_write_tokens", asked.cache_write_tokens, "its parts", short + long)
    read_audio = read_image = 0
    text = whole_in - audio - image - video - short - long
    if kinds := asked.cached_tokens_details:
        read_audio, read_image = kinds.audio_tokens or 0, kinds.image_tokens or 0
        if kinds.text_tokens is not None:
            agree("cached_tokens", read, "its parts", kinds.text_tokens + read_audio + read_image)
    elif read > text >= 0 and audio + image:  # not all of the cached tokens can be text
        read_audio = min(audio, read - text)
        read_image = read - text - read_audio
        notes.append("inferred: cached tokens are text as far as there is text, then audio, then images")
    read -= read_audio + read_image
    reasoning, spoken, drawn = made.reasoning_tokens or 0, made.audio_tokens or 0, made.image_tokens or 0
    return (
        read, read_audio, read_image, short, long, text - read, audio - read_audio, image - read_image, video, reasoning,
        whole_out - reasoning - spoken - drawn, spoken, drawn,
    )  # fmt: skip


class ChatUsage(Block):
    """`usage` of a chat completion; others that speak this API add fields of their own."""

    prompt_tokens: int
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None


def chat(usage: ChatUsage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS."""
    done = usage.completion_tokens or 0
    agree("total_tokens", usage.total_tokens, "prompt and completion", usage.prompt_tokens + done)
    return inclusive(usage.prompt_tokens, usage.prompt_tokens_details, done, usage.completion_tokens_details, notes)


class ResponsesUsage(Block):
    """`usage` of a response, of a batch, of an image."""

    input_tokens: int
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


def responses(usage: ResponsesUsage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS."""
    done = usage.output_tokens or 0
    agree("total_tokens", usage.total_tokens, "input and output", usage.input_tokens + done)
    return inclusive(usage.input_tokens, usage.input_tokens_details, done, usage.output_tokens_details, notes)


def images(usage: ResponsesUsage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS; without details everything that came out is image."""
    if usage.output_tokens_details is None:
        usage.output_tokens_details = OutputDetails(image_tokens=usage.output_tokens)
    return responses(usage, notes)


class RealtimeUsage(Block):
    """`usage` of a realtime response; its details have names of their own."""

    input_tokens: int
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_token_details: InputDetails | None = None
    output_token_details: OutputDetails | None = None


def realtime(usage: RealtimeUsage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS."""
    done = usage.output_tokens or 0
    agree("total_tokens", usage.total_tokens, "input and output", usage.input_tokens + done)
    return inclusive(usage.input_tokens, usage.input_token_details, done, usage.output_token_details, notes)


class AudioUsage(RealtimeUsage, kw_only=True):
    """`usage` of a transcription: `type` is tokens, or duration with `seconds`."""

    type: Literal["tokens", "duration"]
    input_tokens: int = 0  # of a duration
    seconds: Decimal | None = None


def audio(usage: AudioUsage, notes: Notes) -> tuple[int, ...]:
    """Of BUCKETS and audio_ms."""
    if usage.type == "duration" and usage.seconds is None:
        raise Inconsistent("type is duration, seconds are missing")
    if usage.type == "tokens" and not usage.input_tokens:
        counted(usage.output_tokens, usage.total_tokens)
    return *realtime(usage, notes), milliseconds(usage.seconds)


DIALECTS = {
    "chat": Dialect(ChatUsage, BUCKETS, chat),
    "responses": Dialect(ResponsesUsage, BUCKETS, responses),
    "embeddings": Dialect(ChatUsage, BUCKETS, chat),
    "images": Dialect(ResponsesUsage, BUCKETS, images),
    "realtime": Dialect(RealtimeUsage, BUCKETS, realtime),
    "audio": Dialect(AudioUsage, (*BUCKETS, "audio_ms"), audio),
}
