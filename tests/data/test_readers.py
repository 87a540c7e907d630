"""Readers of raw formats, on small files in the true format."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recbench.core import BadData
from recbench.data import Dataset

Write = Callable[..., Path]
Read = Callable[..., Dataset]


def source(folder: Path, *files: tuple[str, str]) -> str:
    listed = ", ".join(f"{{ role = '{role}', name = '{name}' }}" for role, name in files)
    return f"[[sources]]\nkind = 'folder'\npath = '{folder}'\nfiles = [{listed}]\n"


def sequences(dataset: Dataset) -> dict[str, list[tuple[str, int]]]:
    events = dataset.interactions
    out = {}
    for row, user in enumerate(dataset.user_ids):
        span = slice(events.offsets[row], events.offsets[row + 1])
        out[user] = list(zip(dataset.items.item_ids[events.item[span]].tolist(), events.timestamp[span].tolist(), strict=True))
    return out


def texts(dataset: Dataset) -> dict[str, dict[str, str]]:
    return {
        item: {name: column[row] for name, column in dataset.items.columns.items() if column[row] is not None}
        for row, item in enumerate(dataset.items.item_ids)
    }


def gz(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


REVIEWS_2014 = [
    '{"reviewerID": "A1", "asin": "B2", "reviewerName": "J. \\"Jay\\" McDonald", "helpful": [2, 3], '
    '"reviewText": "He wrote \\"asin\\": \\"B9\\", \\"reviewerID\\": \\"A9\\".", "overall": 5.0, "summary": "asin", '
    '"unixReviewTime": 1252800000, "reviewTime": "09 13, 2009"}',
    '{"reviewerID": "A1", "asin": "B1", "reviewerName": "J", "helpful": [0, 0], "reviewText": "", "overall": 2.0, "summary": "", '
    '"unixReviewTime": 1252713600, "reviewTime": "09 12, 2009"}',
    '{"reviewerID": "A\\u0032", "asin": "B1", "helpful": [0, 0], "reviewText": "", "overall": 4, "summary": "", '
    '"unixReviewTime": 1252713600, "reviewTime": "09 12, 2009"}',
]
METADATA_2014 = [
    "{'asin': 'B3', 'title': 'Not wanted', 'this is no literal': open('x')}",
    "{'asin': 'B1', 'related': {'also_bought': ['B3', 'B2']}, 'title': 'Soap &amp;  Water', 'price': 9.99, 'salesRank': {'Beauty': 12}, "
    "'imUrl': 'http://x', 'brand': 'Q', 'categories': [['Beauty', 'Bath'], ['Beauty', 'Gifts &amp; Sets']]}",
    "{'title': \"It's about 'asin': 'B3'\", 'description': \"line\\none\", 'asin': 'B2', 'categories': [['Beauty']], 'price': None}",
    "{'asin': 'B1', 'title': 'Again'}",
]
FOLDER_2014 = (("reviews", "reviews_5.json.gz"), ("metadata", "meta.json.gz"))


def test_amazon_2014(tmp_path: Path, write_card: Write, read: Read) -> None:
    gz(tmp_path / "reviews_5.json.gz", "\n".join(REVIEWS_2014) + "\n\n")
    gz(tmp_path / "meta.json.gz", "\n".join(METADATA_2014) + "\n")
    card = "catalogue = 'events'\nleaking_columns = ['salesrank', 'also_bought']\n"
    dataset = read(write_card(card + source(tmp_path, *FOLDER_2014), reader="amazon-2014"))
    assert sequences(dataset) == {"A1": [("B1", 1252713600), ("B2", 1252800000)], "A2": [("B1", 1252713600)]}
    assert texts(dataset) == {
        "B1": {"title": "Soap & Water", "brand": "Q", "categories": "Beauty, Bath, Gifts & Sets", "price": "9.99"},
        "B2": {"title": "It's about 'asin': 'B3'", "categories": "Beauty", "description": "line one"},
    }
    assert dataset.notes["repeated metadata lines ignored"] == 1
    leaking = read(write_card(card + "read_leaking_columns = true\n" + source(tmp_path, *FOLDER_2014), reader="amazon-2014"))
    assert texts(leaking)["B1"]["salesrank"] == "Beauty 12"
    assert texts(leaking)["B1"]["also_bought"] == "B3, B2"


def test_amazon_2014_filters_by_rating_and_reads_no_metadata_of_what_is_gone(tmp_path: Path, write_card: Write, read: Read) -> None:
    gz(tmp_path / "reviews_5.json.gz", "\n".join(REVIEWS_2014))
    gz(tmp_path / "meta.json.gz", METADATA_2014[2] + "\n{'asin': 'B1' broken\n")
    card = "catalogue = 'events'\nfilters = [{ kind = 'min-rating', value = 5 }]\n"
    dataset = read(write_card(card + source(tmp_path, *FOLDER_2014), reader="amazon-2014"))
    assert sequences(dataset) == {"A1": [("B2", 1252800000)]}
    with pytest.raises(BadData, match=r"meta.json.gz, line 2 is not a Python literal"):
        read(write_card("catalogue = 'events'\n" + source(tmp_path, *FOLDER_2014), reader="amazon-2014"))


def test_amazon_2014_ratings_without_header(tmp_path: Path, write_card: Write, read: Read) -> None:
    (tmp_path / "ratings_Books.csv").write_text("AH2L,0001042335,5.0,1400457600\nAH2L,000104X,1.0,1400457601\n", encoding="utf-8")
    gz(tmp_path / "meta.json.gz", "{'asin': '0001042335', 'title': 'A'}\n")
    card = source(tmp_path, ("reviews", "ratings_Books.csv"), ("metadata", "meta.json.gz"))
    dataset = read(write_card("catalogue = 'events'\n" + card, reader="amazon-2014"))
    assert sequences(dataset) == {"AH2L": [("0001042335", 1400457600), ("000104X", 1400457601)]}
    assert dataset.notes["items without metadata"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"reviewerID": "A1", "asin": "B1"', r"reviews_5.json.gz, line 2 is not JSON"),
        ('{"reviewerID": "A1", "asin": "B1", "overall": 5.0}', r"line 2 has no 'unixReviewTime'"),
        ('{"reviewerID": "", "asin": "B1", "overall": 5.0, "unixReviewTime": 1}', r"line 2 has no 'reviewerID'"),
        ('{"reviewerID": "A1", "asin": "B1", "overall": "good", "unixReviewTime": 1}', r"line 2: overall = 'good' is not a number"),
        (
            '{"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": "soon"}',
            r"event 2: unixReviewTime = 'soon' is not a whole",
        ),
        ("[1, 2]", r"line 2 is not a JSON object"),
    ],
)
def test_bad_review_lines_are_named(tmp_path: Path, write_card: Write, read: Read, line: str, message: str) -> None:
    gz(tmp_path / "reviews_5.json.gz", REVIEWS_2014[0] + "\n" + line + "\n")
    with pytest.raises(BadData, match=message):
        read(write_card(source(tmp_path, FOLDER_2014[0]), reader="amazon-2014"))


def test_cut_off_and_corrupt_gzip_are_named(tmp_path: Path, write_card: Write, read: Read) -> None:
    draw = np.random.default_rng(0)
    lines = [REVIEWS_2014[0].replace("A1", f"A{draw.integers(10**12)}") for _ in range(2000)]
    path = tmp_path / "reviews_5.json.gz"
    gz(path, "\n".join(lines))
    whole = path.read_bytes()
    card = write_card(source(tmp_path, FOLDER_2014[0]), reader="amazon-2014")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadData, match=r"reviews_5.json.gz: damaged after line \d+.*cut off or altered"):
        read(card)
    path.write_bytes(whole[: len(whole) // 2] + bytes(200) + whole[len(whole) // 2 + 200 :])
    with pytest.raises(BadData, match=r"reviews_5.json.gz(: damaged|, line)"):
        read(card)


def test_amazon_2018(tmp_path: Path, write_card: Write, read: Read) -> None:
    reviews = [
        {"overall": 5.0, "vote": "67", "verified": True, "reviewTime": "09 18, 1999", "reviewerID": "AAP", "asin": "015",
         "style": {"Format:": " Hardcover"}, "reviewerName": "D.", "reviewText": "x", "summary": "y", "unixReviewTime": 937612800},
        {"overall": 4.0, "reviewTime": "09 17, 1999", "reviewerID": "AAP", "asin": "016", "unixReviewTime": 937526400},
    ]  # fmt: skip
    metadata = [
        {"category": ["Books", "New &amp; Used"], "description": ["One.", "", "Two."], "title": "T", "brand": "by\n \nMaker",
         "also_buy": ["016"], "rank": "3 in Books", "price": ".a-box{color:red}", "asin": "015"},
        {"title": "Other", "price": "$1,012.99", "description": [], "asin": "016"},
        {"title": "None", "asin": "017"},
    ]  # fmt: skip
    gz(tmp_path / "Books_5.json.gz", "\n".join(map(json.dumps, reviews)))
    gz(tmp_path / "meta_Books.json.gz", "\n".join(map(json.dumps, metadata)))
    files = (("reviews", "Books_5.json.gz"), ("metadata", "meta_Books.json.gz"))
    dataset = read(write_card("catalogue = 'events'\n" + source(tmp_path, *files), reader="amazon-2018"))
    assert sequences(dataset) == {"AAP": [("016", 937526400), ("015", 937612800)]}
    assert texts(dataset) == {
        "015": {"title": "T", "brand": "Maker", "categories": "Books, New & Used", "description": "One. Two."},
        "016": {"title": "Other", "price": "$1,012.99"},
    }


def test_amazon_2018_ratings_have_the_item_first(tmp_path: Path, write_card: Write, read: Read) -> None:
    (tmp_path / "Books.csv").write_text("0001713353,A1C6M8LCIX4M6M,5.0,1123804800\n", encoding="utf-8")
    dataset = read(write_card(source(tmp_path, ("reviews", "Books.csv")), reader="amazon-2018"))
    assert sequences(dataset) == {"A1C6M8LCIX4M6M": [("0001713353", 1123804800)]}


def test_amazon_2023(tmp_path: Path, write_card: Write, read: Read) -> None:
    def review(item: str, milliseconds: int) -> dict[str, object]:
        return {
            "rating": 5.0, "title": "t", "text": "\"user_id\": \"X\"", "images": [], "asin": item + "v", "parent_asin": item,
            "user_id": "AGK", "timestamp": milliseconds, "helpful_vote": 0, "verified_purchase": True,
        }  # fmt: skip

    reviews = [review("P2", 1588687728923), review("P1", 1588687728100), review("P3", 1588687727000)]
    metadata = [
        {"main_category": "All Beauty", "title": "T", "average_rating": 4.8, "features": [], "description": ["D."], "price": 11.5,
         "store": "S", "categories": ["A", "B"], "details": {}, "parent_asin": "P1", "bought_together": None},
    ]  # fmt: skip
    gz(tmp_path / "All_Beauty.jsonl.gz", "\n".join(map(json.dumps, reviews)))
    gz(tmp_path / "meta.jsonl.gz", "\n".join(map(json.dumps, metadata)))
    files = (("reviews", "All_Beauty.jsonl.gz"), ("metadata", "meta.jsonl.gz"))
    dataset = read(write_card("catalogue = 'events'\n" + source(tmp_path, *files), reader="amazon-2023"))
    assert sequences(dataset) == {"AGK": [("P3", 1588687727), ("P1", 1588687728), ("P2", 1588687728)]}
    assert texts(dataset)["P1"] == {"title": "T", "brand": "S", "categories": "A, B", "description": "D.", "price": "11.5"}
    assert dataset.notes["items without metadata"] == 2


def test_recbole(tmp_path: Path, write_card: Write, read: Read) -> None:
    (tmp_path / "x.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n10\t7\t3\t881250949\n10\t08\t4\t881250948.0\n", encoding="utf-8"
    )
    (tmp_path / "x.item").write_text(
        'item_id:token\tmovie_title:token_seq\tclass:token_seq\n7\t"Quoted, not\tAction Sci-Fi\n08\tThe 8\t\n9\tNobody\tDrama\n',
        encoding="utf-8",
    )
    options = "options = { columns = { title = 'movie_title', categories = 'class' } }\n"
    files = source(tmp_path, ("interactions", "x.inter"), ("items", "x.item"))
    dataset = read(write_card(options + files, reader="recbole"))
    assert sequences(dataset) == {"10": [("08", 881250948), ("7", 881250949)]}
    assert texts(dataset) == {
        "7": {"title": '"Quoted, not', "categories": "Action, Sci-Fi"},
        "08": {"title": "The 8"},
        "9": {"title": "Nobody", "categories": "Drama"},
    }
    with pytest.raises(BadData, match=r"x.item has no column 'name'"):
        read(write_card("options = { columns = { title = 'name' } }\n" + files, reader="recbole"))


def test_recbole_with_columns_of_other_names(tmp_path: Path, write_card: Write, read: Read) -> None:
    (tmp_path / "x.inter").write_text("uid:token\tartist:token\tday:float\n1\t07\t9\n", encoding="utf-8")
    (tmp_path / "x.item").write_text("artist:token\ttitle:token_seq\n07\tABBA\n", encoding="utf-8")
    options = "options = { user = 'uid', item = 'artist', time = 'day' }\n"
    dataset = read(write_card(options + source(tmp_path, ("interactions", "x.inter"), ("items", "x.item")), reader="recbole"))
    assert sequences(dataset) == {"1": [("07", 9)]}
    assert texts(dataset) == {"07": {"title": "ABBA"}}


def movielens_1m(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("ml-1m/README", "")
        package.writestr("ml-1m/ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n2::1193::1::978298413\n")
        films = (
            "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n1193::Amélie (2001)::Drama\n5::Unrated (1990)::Drama\n"
        )
        package.writestr("ml-1m/movies.dat", films.encode("latin-1"))


def test_movielens_1m(tmp_path: Path, write_card: Write, read: Read) -> None:
    movielens_1m(tmp_path / "ml-1m.zip")
    dataset = read(write_card("catalogue = 'events'\n" + source(tmp_path, ("archive", "ml-1m.zip")), reader="movielens"))
    assert sequences(dataset) == {"1": [("1193", 978300760), ("661", 978302109)], "2": [("1193", 978298413)]}
    assert texts(dataset) == {
        "1193": {"title": "Amélie (2001)", "categories": "Drama"},
        "661": {"title": "James and the Giant Peach (1996)", "categories": "Animation, Children's, Musical"},
    }


def test_movielens_100k(tmp_path: Path, write_card: Write, read: Read) -> None:
    genres = "unknown|0\nAction|1\nAdventure|2\nAnimation|3\nChildren's|4\n\n"
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as package:
        package.writestr("ml-100k/u.data", "196\t242\t3\t881250949\n196\t1\t3\t881250949\n")
        package.writestr("ml-100k/u.genre", genres)
        package.writestr(
            "ml-100k/u.item", "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1\n242|Kolya (1996)|24-Jan-1997||http://y|0|1|0|0|0\n"
        )
    card = "options = { keep_year = false }\n" + source(tmp_path, ("archive", "ml-100k.zip"))
    dataset = read(write_card(card, reader="movielens"))
    assert sequences(dataset) == {"196": [("242", 881250949), ("1", 881250949)]}
    assert texts(dataset) == {
        "1": {"title": "Toy Story", "categories": "Animation, Children's"},
        "242": {"title": "Kolya", "categories": "Action"},
    }


def test_damaged_and_foreign_archives_are_named(tmp_path: Path, write_card: Write, read: Read) -> None:
    path = tmp_path / "ml-1m.zip"
    movielens_1m(path)
    card = write_card(source(tmp_path, ("archive", "ml-1m.zip")), reader="movielens")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(BadData, match=r"ml-1m.zip: not a whole zip file"):
        read(card)
    path.write_bytes(whole.replace(b"978300760", b"978300761"))
    with pytest.raises(BadData, match=r"ml-1m.zip: not a whole zip file.*CRC"):
        read(card)
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("ml-1m/ratings.dat", "1::1193\n")
    with pytest.raises(BadData, match="is not user, item, rating, time"):
        read(card)
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("else.txt", "")
    with pytest.raises(BadData, match=r"holds none of u.data, ratings.dat"):
        read(card)


def test_yelp(tmp_path: Path, write_card: Write, read: Read) -> None:
    def review(user: str, item: str, date: str) -> str:
        return json.dumps(
            {"review_id": "r", "user_id": user, "business_id": item, "stars": 4.0, "useful": 0, "text": 'the "date": x', "date": date}
        )

    reviews = [review("u-1", "b2", "2019-03-09 20:21:56"), review("u-1", "b1", "2019-01-01"), review("u-1", "b3", "2018-12-31 23:59:59")]
    businesses = [
        {"business_id": "b1", "name": "J &amp; J", "city": "X", "categories": "Food, Bars"},
        {"business_id": "b2", "name": "Y", "categories": None},
        {"business_id": "b9", "name": "Z"},
    ]
    (tmp_path / "review.json").write_text("\n".join(reviews), encoding="utf-8")
    (tmp_path / "business.json").write_text("\n".join(map(json.dumps, businesses)), encoding="utf-8")
    card = "filters = [{ kind = 'dates', first = 2019-01-01, last = 2019-12-31 }]\ncatalogue = 'events'\n"
    files = source(tmp_path, ("reviews", "review.json"), ("businesses", "business.json"))
    dataset = read(write_card(card + files, reader="yelp"))
    assert sequences(dataset) == {"u-1": [("b1", 1546300800), ("b2", 1552162916)]}
    assert texts(dataset) == {"b1": {"title": "J & J", "categories": "Food, Bars"}, "b2": {"title": "Y"}}
    (tmp_path / "review.json").write_text(review("u", "b1", "yesterday"), encoding="utf-8")
    with pytest.raises(BadData, match=r"'date' holds strings such as 'yesterday'.* no dates of the form 2019-01-31"):
        read(write_card(files, reader="yelp"))
    (tmp_path / "review.json").write_text(review("u", "b7", "2019-01-01"), encoding="utf-8")
    with pytest.raises(BadData, match="lacks items that have events: 'b7'"):
        read(write_card(files, reader="yelp"))


def test_pixelrec(tmp_path: Path, write_card: Write, read: Read) -> None:
    (tmp_path / "Pixel200K.csv").write_text("item_id,user_id,timestamp\ni7,u1,1600000001\ni3,u1,1600000000\n", encoding="utf-8")
    info = 'item_id,view_number,comment_number,title,tag,description\ni3,1,2,First,Food,\ni7,5,6,"Second, ""two""",Game,Long\n'
    (tmp_path / "item_info.csv").write_text(info, encoding="utf-8")
    files = source(tmp_path, ("interactions", "Pixel200K.csv"), ("items", "item_info.csv"))
    dataset = read(write_card(files, reader="pixelrec"))
    assert sequences(dataset) == {"u1": [("i3", 1600000000), ("i7", 1600000001)]}
    assert texts(dataset) == {
        "i3": {"title": "First", "categories": "Food"},
        "i7": {"title": 'Second, "two"', "categories": "Game", "description": "Long"},
    }
    (tmp_path / "Pixel200K.csv").write_text("item_id,user_id,timestamp\ni7,u1,1600000000900\ni3,u1,1600000000100\n", encoding="utf-8")
    with pytest.raises(BadData, match="is no number of seconds"):
        read(write_card(files, reader="pixelrec"))
    milliseconds = read(write_card("options = { time_unit = 'ms' }\n" + files, reader="pixelrec"))
    assert sequences(milliseconds) == {"u1": [("i3", 1600000000), ("i7", 1600000000)]}
